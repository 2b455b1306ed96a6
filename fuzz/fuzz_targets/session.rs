//! A whole session: what client and backend say, and the time that passes. What must hold stands in `invariants::session`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::session(input));
