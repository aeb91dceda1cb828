//! Downloads files over HTTP(S) on Linux.

pub mod error;
pub mod limits;
pub mod serve;
pub mod units;
