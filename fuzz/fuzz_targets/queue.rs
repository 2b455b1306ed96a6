//! Files of a qmail queue. What must hold stands in `invariants::queue`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::queue(input));
