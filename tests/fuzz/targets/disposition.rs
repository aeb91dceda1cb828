//! See `ringpull::fuzzing::disposition`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpull::fuzzing::disposition(bytes));
