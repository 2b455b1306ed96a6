//! A configuration file. What must hold stands in `invariants::config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::config(input));
