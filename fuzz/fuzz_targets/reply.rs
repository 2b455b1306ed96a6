//! A backend's replies. What must hold stands in `invariants::reply`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::reply(input));
