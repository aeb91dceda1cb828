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

/// Tells the files of the tree that the list does not have, in order. `state` is where the run keeps its own.
///
/// # Errors
/// If the directory or the catalog cannot be read, or the run is to end. Whatever `each` says.
pub(super) fn extraneous(
    order: &Order,
    catalog: &Catalog,
    tree: &Tree,
    state: &Path,
    limit: &Limit,
    each: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    let failed = |error| Error::local("write", state, error);
    let (filter, papers) = (order.filter()?, papers(order, tree, state));
    let mut sorter = Sorter::new(state, SORT_BYTES_MAX);
    tree.walk(&mut |path| {
        limit.check()?;
        sorter.push(path).map_err(failed)
    })?;
    let mut there = sorter.finish().map_err(failed)?;
    let mut entries = catalog.entries();
    let mut entry = entries.next()?;
    while let Some(path) = there.next().map_err(failed)? {
        limit.check()?;
        while entry.as_ref().is_some_and(|(_, _, entry)| entry.path.as_bytes() < path) {
            entry = entries.next()?;
        }
        if entry.as_ref().is_none_or(|(_, _, entry)| entry.path.as_bytes() != path) {
            // No list can name what is not UTF-8, so nobody has said that it may go.
            let named = str::from_utf8(path).ok();
            if let Some(path) = named.filter(|path| filter.takes(path) && !papers.have(path)) {
                each(path)?;
            }
        }
    }
    Ok(())
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
    let places = papers.iter().flat_map(|paper| places(paper));
    let below = places.filter_map(|place| place.strip_prefix(tree.path()).ok().map(Path::to_owned));
    // The root itself would be everything.
    Papers(below.filter(|path| path != Path::new("")).collect())
}

/// Where a path lies: what it leads to, and the symbolic links on the way.
fn places(path: &Path) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let Ok(mut whole) = std::path::absolute(path) else { return places };
    for _ in 0..LINKS_MAX {
        let above: Vec<_> = whole.ancestors().map(Path::to_owned).collect();
        let is_link = |path: &&PathBuf| path.is_symlink();
        let Some(link) = above.iter().rev().find(is_link) else { break };
        let (Some(parent), Some(name)) = (link.parent(), link.file_name()) else { break };
        let Ok(parent) = std::fs::canonicalize(parent) else { break };
        let Ok(target) = std::fs::read_link(link) else { break };
        let rest = whole.strip_prefix(link).unwrap_or(Path::new("")).to_owned();
        places.push(parent.join(name));
        whole = parent.join(target);
        if rest != Path::new("") {
            whole.push(rest);
        }
    }
    let parent = whole.parent().and_then(|parent| std::fs::canonicalize(parent).ok());
    places.extend(parent.zip(whole.file_name()).map(|(parent, name)| parent.join(name)));
    places.extend(std::fs::canonicalize(path));
    places
}

/// Symbolic links on the way to a file (the kernel follows as many, path_resolution(7)).
const LINKS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_lies_where_it_leads_to_and_at_every_link_on_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(directory.path()).unwrap();
        std::fs::create_dir(root.join("lists")).unwrap();
        std::fs::write(root.join("lists/new"), "").unwrap();
        symlink("lists", root.join("there")).unwrap();
        symlink("new", root.join("lists/current")).unwrap();
        symlink("../there/current", root.join("lists/alias")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let found = |path: &str| {
            let mut found = places(&root.join(path));
            found.sort();
            found.dedup();
            let names =
                found.iter().map(|place| place.strip_prefix(&root).unwrap().to_str().unwrap());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found("lists/new"), "lists/new");
        assert_eq!(found("there/new"), "lists/new there");
        assert_eq!(found("there/alias"), "lists/alias lists/current lists/new there");
        assert_eq!(found("there/none"), "lists/none there");
        assert_eq!(found("loop"), "loop");
    }
}
