//! A message as the client sends it. What must hold stands in `invariants::data`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::data(input));
