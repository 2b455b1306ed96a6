//! A message as it goes to the backend. What must hold stands in `portcullis::fuzzing::message`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portcullis::fuzzing::message(input));
