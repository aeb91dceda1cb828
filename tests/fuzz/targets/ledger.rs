//! See `ringpull::fuzzing::ledger`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpull::fuzzing::ledger(bytes));
