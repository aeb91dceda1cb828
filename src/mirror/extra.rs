//! The files of a directory that a list does not have.
//!
//! Nothing is removed here. Invariant: what the run itself reads and writes is never among them, nor what the
//! filters leave out: it is not looked for in the list, so nobody has said that it may go (as rsync has it).

use std::path::{Path, PathBuf};

use super::limit::Limit;
use super::{List, Order};
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::limits::SORT_BYTES_MAX;
use crate::sorting::Sorter;
use crate::tree::Tree;

/// The files of the tree that the list does not have, in order. `state` is where the run keeps its own.
///
/// # Errors
/// If the directory or the catalog cannot be read, or the run is to end.
pub(super) fn extraneous(
    order: &Order,
    catalog: &Catalog,
    tree: &Tree,
    state: &Path,
    limit: &Limit,
) -> Result<Vec<String>> {
    let failed = |error| Error::local("write", state, error);
    let (filter, papers) = (order.filter()?, papers(order, tree, state));
    let mut sorter = Sorter::new(state, SORT_BYTES_MAX);
    let mut pushed = Ok(());
    let mut push = |path: &[u8]| {
        if pushed.is_ok() {
            pushed = sorter.push(path);
        }
    };
    tree.walk(&mut push, &|| limit.check())?;
    pushed.map_err(failed)?;
    let mut there = sorter.finish().map_err(failed)?;
    let (mut entries, mut extra) = (catalog.entries(), Vec::new());
    let mut entry = entries.next()?;
    while let Some(path) = there.next().map_err(failed)? {
        limit.check()?;
        while entry.as_ref().is_some_and(|(_, _, entry)| entry.path.as_bytes() < path) {
            entry = entries.next()?;
        }
        if entry.as_ref().is_none_or(|(_, _, entry)| entry.path.as_bytes() != path) {
            // No list can name what is not UTF-8, so nobody has said that it may go.
            let named = String::from_utf8(path.to_vec()).ok();
            extra.extend(named.filter(|path| filter.takes(path) && !papers.have(path)));
        }
    }
    Ok(extra)
}

/// What the run reads and writes itself, as far as it lies in the tree: paths below its root.
pub(super) struct Papers(Vec<PathBuf>);

impl Papers {
    /// Whether a path is one of them, or in one.
    pub(super) fn have(&self, path: &str) -> bool {
        self.0.iter().any(|paper| Path::new(path).starts_with(paper))
    }
}

/// What the run reads and writes itself.
pub(super) fn papers(order: &Order, tree: &Tree, state: &Path) -> Papers {
    let mut papers = vec![state.to_owned()];
    if let List::File(list) = &order.list {
        papers.push(list.clone());
    }
    for lines in [&order.results, &order.failures].into_iter().flatten() {
        papers.extend([lines.clone(), super::lines::beside(lines)]);
    }
    let below = |paper: PathBuf| {
        let whole = std::fs::canonicalize(&paper).or_else(|_| {
            let parent = paper.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = std::fs::canonicalize(parent.unwrap_or(Path::new(".")))?;
            Ok::<_, std::io::Error>(parent.join(paper.file_name().unwrap_or_default()))
        });
        whole.ok()?.strip_prefix(tree.path()).ok().map(Path::to_owned)
    };
    // The root itself would be everything.
    let below = papers.into_iter().filter_map(below);
    Papers(below.filter(|path| path != Path::new("")).collect())
}
