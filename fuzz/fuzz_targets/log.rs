//! A log. What must hold stands in `portcullis::fuzzing::log`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portcullis::fuzzing::log(input));
