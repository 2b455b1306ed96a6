//! A log. What must hold stands in `invariants::log`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::log(input));
