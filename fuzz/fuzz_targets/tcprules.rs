//! tcpserver's rules, as text and as cdb. What must hold stands in `portcullis::fuzzing::tcprules`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| portcullis::fuzzing::tcprules(input));
