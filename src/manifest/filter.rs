//! Which paths a user wants: `--include` and `--exclude`.
//!
//! It looks at no files. Invariant: what is excluded is never taken, whatever includes it.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, Kind, Result};

/// Globs that choose among paths.
///
/// `*` and `?` stop at a slash, `**` does not. A glob without a slash is for names at any depth, one with a
/// slash for whole paths from the root. One that matches a directory takes everything beneath it.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// `None` takes all.
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    /// Reads the globs; no `include` means all.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a glob that is none.
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        let include = if include.is_empty() { None } else { Some(set("--include", include)?) };
        Ok(Self { include, exclude: set("--exclude", exclude)? })
    }

    /// Whether the file at this path is wanted.
    pub(crate) fn takes(&self, path: &str) -> bool {
        let included = |set: &GlobSet| matches(set, path);
        self.include.as_ref().is_none_or(included) && !matches(&self.exclude, path)
    }

    /// Whether anything beneath this directory may be wanted.
    pub(crate) fn enters(&self, directory: &str) -> bool {
        !matches(&self.exclude, directory)
    }
}

/// Whether the path or a directory above it is in the set.
fn matches(set: &GlobSet, path: &str) -> bool {
    let above = path.match_indices('/').map(|(at, _)| &path[..at]);
    !set.is_empty() && (set.is_match(path) || above.into_iter().any(|part| set.is_match(part)))
}

fn set(flag: &str, globs: &[String]) -> Result<GlobSet> {
    let wrong = |error: globset::Error| Error::new(Kind::Usage, format!("{flag}: {error}"));
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        // Of a slash at the end nothing is left to tell: what matches a directory takes all of it.
        let glob = glob.strip_suffix('/').unwrap_or(glob);
        let rooted = glob.strip_prefix('/');
        let anchored = match rooted {
            Some(rooted) => rooted.to_owned(),
            None if glob.contains('/') => glob.to_owned(),
            None => format!("**/{glob}"),
        };
        let glob = GlobBuilder::new(&anchored).literal_separator(true).build();
        set.add(glob.map_err(wrong)?);
    }
    set.build().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let owned =
            |globs: &[&str]| globs.iter().map(|glob| String::from(*glob)).collect::<Vec<_>>();
        Filter::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn nothing_given_takes_all() {
        let filter = filter(&[], &[]);
        assert!(filter.takes("a/b/c") && filter.enters("a"));
    }

    #[test]
    fn names_match_at_any_depth_and_paths_from_the_root() {
        let filter = filter(&["*.deb", "dists/*/Release", "/top"], &[]);
        for path in ["a.deb", "pool/x/a.deb", "dists/sid/Release", "top", "top/a"] {
            assert!(filter.takes(path), "{path}");
        }
        for path in ["a.dsc", "x/dists/sid/Release", "dists/a/b/Release", "x/top"] {
            assert!(!filter.takes(path), "{path}");
        }
    }

    #[test]
    fn exclude_wins_and_takes_what_is_beneath() {
        let filter = filter(&["*.deb"], &["old/", "pool/**/x.deb"]);
        assert!(filter.takes("pool/y.deb"));
        for path in ["old/a.deb", "pool/old/a.deb", "pool/x.deb", "pool/a/b/x.deb"] {
            assert!(!filter.takes(path), "{path}");
        }
        assert!(!filter.enters("pool/old") && !filter.enters("old/a") && filter.enters("pool"));
    }

    #[test]
    fn a_broken_glob_is_wrong_usage() {
        let error = Filter::new(&[], &["a[".into()]).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().starts_with("--exclude: "), "{error}");
    }
}
