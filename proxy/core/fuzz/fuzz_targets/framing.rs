//! Client and server bytes through one conversation.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_sim::fuzz::framing(data));
