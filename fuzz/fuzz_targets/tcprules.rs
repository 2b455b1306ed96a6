//! tcpserver's rules, as text and as cdb. What must hold stands in `invariants::tcprules`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::tcprules(input));
