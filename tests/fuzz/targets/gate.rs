//! See `ringpull::fuzzing::gate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpull::fuzzing::gate(bytes));
