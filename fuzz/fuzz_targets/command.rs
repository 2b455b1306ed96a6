//! A client's command lines. What must hold stands in `portcullis::fuzzing::command`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portcullis::fuzzing::command(input));
