//! What several benches need: a served file, and a sheet of what each case has cost.

mod served;
mod sheet;

pub(crate) use served::{Served, same_bytes};
pub(crate) use sheet::{Cost, Sheet, measure, median};

/// Whether this is `cargo bench`; otherwise each case runs once and small, to see that it works.
pub(crate) fn is_full() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}
