//! See `ringpull::fuzzing::location`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpull::fuzzing::location(bytes));
