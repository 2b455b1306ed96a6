//! A run script. What must hold stands in `portcullis::fuzzing::run_script`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portcullis::fuzzing::run_script(input));
