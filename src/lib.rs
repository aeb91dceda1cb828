//! Downloads files over HTTP(S) on Linux: ranged bodies on per-core threads, every byte checked.
#![allow(dead_code)]

pub(crate) mod digest;
pub mod error;
pub mod limits;
pub mod meter;
pub mod units;

pub use digest::{Algo, Checksum};
