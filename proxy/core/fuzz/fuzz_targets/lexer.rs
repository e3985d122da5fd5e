//! Statement texts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_sim::fuzz::lexer(data));
