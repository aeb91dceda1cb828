//! See `ringpull::fuzzing::addresses`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpull::fuzzing::addresses(bytes));
