//! A list of addresses or domains. What must hold stands in `portcullis::fuzzing::list`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portcullis::fuzzing::list(input));
