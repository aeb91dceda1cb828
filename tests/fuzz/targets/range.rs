//! See `ringpull::fuzzing::range`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpull::fuzzing::range(bytes));
