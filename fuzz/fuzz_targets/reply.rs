//! A backend's replies. What must hold stands in `portcullis::fuzzing::reply`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portcullis::fuzzing::reply(input));
