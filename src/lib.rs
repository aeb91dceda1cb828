//! ringpull
#![allow(dead_code)]
pub mod error;
pub mod limits;
pub mod meter;
pub mod units;
pub(crate) mod block;
pub(crate) mod io;
pub(crate) mod sys;
pub(crate) mod wire;
