//! A message as the client sends it. What must hold stands in `portcullis::fuzzing::data`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portcullis::fuzzing::data(input));
