//! Whole shards fed with events.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_sim::fuzz::session(data));
