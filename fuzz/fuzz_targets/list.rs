//! A list of addresses or domains. What must hold stands in `invariants::list`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::list(input));
