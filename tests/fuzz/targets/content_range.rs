//! See `ringpull::fuzzing::content_range`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpull::fuzzing::content_range(bytes));
