//! Downloads files over HTTP(S) on Linux.

#![allow(dead_code, unused_imports)]

pub mod error;
pub mod limits;
pub(crate) mod gate;
pub(crate) mod name;
pub(crate) mod pace;
pub(crate) mod plan;
pub(crate) mod retry;
pub(crate) mod throttle;
pub mod units;
