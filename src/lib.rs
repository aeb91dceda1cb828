#[doc(hidden)]
pub mod cli;
mod report;
