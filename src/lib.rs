//! ringpull
#![allow(dead_code)]
pub mod error;
pub mod limits;
pub mod meter;
pub mod units;

pub(crate) mod alternates;
pub(crate) mod gate;
pub(crate) mod name;
pub(crate) mod pace;
pub(crate) mod plan;
pub(crate) mod retry;
pub(crate) mod throttle;

pub(crate) mod block;
pub(crate) mod io;
pub mod sys;

pub mod digest;
pub(crate) mod sink;
pub mod wire;

pub(crate) mod board;
pub mod engine;
pub(crate) mod fetch;
pub(crate) mod lane;
pub mod options;

pub mod cli;
pub mod report;
pub mod serve;
