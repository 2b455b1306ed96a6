//! A client's command lines. What must hold stands in `invariants::command`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::command(input));
