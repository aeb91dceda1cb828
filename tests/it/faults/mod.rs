//! Faults by number: each test is named after the fault that it puts in the way.

mod dial;
mod expiry;
mod net;
mod trust;
mod waits;
