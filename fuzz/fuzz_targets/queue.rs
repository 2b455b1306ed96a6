//! Files of a qmail queue. What must hold stands in `portcullis::fuzzing::queue`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portcullis::fuzzing::queue(input));
