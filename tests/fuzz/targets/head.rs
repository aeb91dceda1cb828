//! See `ringpull::fuzzing::head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpull::fuzzing::head(bytes));
