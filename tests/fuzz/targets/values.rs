//! See `ringpull::fuzzing::values`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpull::fuzzing::values(bytes));
