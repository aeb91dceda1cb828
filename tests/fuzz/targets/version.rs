//! See `ringpull::fuzzing::version`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpull::fuzzing::version(bytes));
