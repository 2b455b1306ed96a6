//! A message as it goes to the backend. What must hold stands in `invariants::message`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::message(input));
