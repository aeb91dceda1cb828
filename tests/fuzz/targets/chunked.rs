//! See `ringpull::fuzzing::chunked`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpull::fuzzing::chunked(bytes));
