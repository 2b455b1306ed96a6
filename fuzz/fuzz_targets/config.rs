//! A configuration file. What must hold stands in `portcullis::fuzzing::config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portcullis::fuzzing::config(input));
