//! The digests of the stretches of a file, as lists have them.
//!
//! A set that cannot be right is not used, and that is told; the file is an entry all the same. Invariant:
//! the set of an entry is whole, and fits its size where the list tells that.

use std::sync::Arc;

use super::fields::{Context, Fields, algo_of, strength};
use super::{BadLine, Each, Found};
use crate::digest::{Algo, Checksum, Stretches};
use crate::error::{Escaped, Result};
use crate::limits::STRETCH_DIGESTS_BYTES_MAX;

/// A set whose digests come one after the other.
#[derive(Debug)]
pub(super) struct Gathering {
    algo: Result<Algo, String>,
    length: Option<u64>,
    count: u64,
    digests: Vec<u8>,
    /// What is wrong with its digests.
    why: Option<String>,
}

/// The best of the sets of a file; what is wrong with one, if none is right.
#[derive(Debug, Default)]
pub(super) struct Best(Option<Result<Stretches, String>>);

impl Gathering {
    /// A set of stretches of so many bytes, as the list writes that.
    pub(super) fn new(algo: &str, length: &str) -> Self {
        let (algo, length) = (algo_of(algo), length.trim().parse().ok());
        Self { algo, length, count: 0, digests: Vec::new(), why: None }
    }

    /// Adds the digest of the next stretch; `number` is the one that the list gives it.
    pub(super) fn push(&mut self, hex: &str, number: Option<&str>) {
        let Ok(algo) = self.algo else { return };
        if self.why.is_some() {
            return;
        }
        if number.is_some_and(|number| number.trim().parse() != Ok(self.count)) {
            self.why = Some("the digests of its stretches are not in order".into());
            return;
        }
        self.count += 1;
        match format!("{}={hex}", algo.name()).parse::<Checksum>() {
            // One too many is enough to know of.
            Ok(_) if self.digests.len() > STRETCH_DIGESTS_BYTES_MAX => {}
            Ok(digest) => self.digests.extend_from_slice(digest.bytes()),
            Err(why) => self.why = Some(why),
        }
    }

    pub(super) fn finish(self) -> Result<Stretches, String> {
        let algo = self.algo?;
        if let Some(why) = self.why {
            return Err(why);
        }
        let length = self.length.ok_or("the length of its stretches is not a number of bytes")?;
        Stretches::new(algo, length, self.digests)
    }
}

impl Best {
    /// Takes another set of the same file.
    pub(super) fn add(&mut self, set: Result<Stretches, String>) {
        let is_better = match (&self.0, &set) {
            (None, _) | (Some(Err(_)), Ok(_)) => true,
            (Some(Ok(best)), Ok(set)) => strength(set.algo()) > strength(best.algo()),
            (Some(_), Err(_)) => false,
        };
        if is_better {
            self.0 = Some(set);
        }
    }
}

impl Context {
    /// Hands on what the record on `line` is, with the best set of its stretches.
    pub(super) fn tell(
        &self,
        line: u64,
        fields: &Fields,
        best: Best,
        each: &mut Each<'_>,
    ) -> Result<()> {
        let mut found = self.found(line, fields);
        if let (Found::Entry(entry), Some(set)) = (&mut found, best.0) {
            let fits = |set: &Stretches| entry.size.is_none_or(|size| set.covers(size));
            let set = set.and_then(|set| match fits(&set) {
                true => Ok(set),
                false => Err("their number does not fit the size of the file".into()),
            });
            match set {
                Ok(set) => entry.stretches = Some(Arc::new(set)),
                Err(why) => {
                    let (path, why) = (Some(entry.path.clone()), Escaped(&why));
                    let why = format!(
                        "{}: the digests of its stretches are not used: {why}",
                        Escaped(&entry.path)
                    );
                    each(Found::Doubt(BadLine { line, path, why }))?;
                }
            }
        }
        each(found)
    }
}
