//! A run script. What must hold stands in `invariants::run_script`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::run_script(input));
