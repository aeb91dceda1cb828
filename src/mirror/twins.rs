//! Which entries of the list are to have the same bytes: found by sorting digests on disk, so that memory
//! does not grow with the list.
//!
//! Entries of one digest are a group. The first of it that is not right yet leads: it is fetched as if it were
//! alone, unless a file of the group is right already. The others wait in a file of their own, for the pass
//! that links them (`linking`). Invariant: every entry that needs work is either told to be done or waits,
//! never both.

use std::io;
use std::path::{Path, PathBuf};

use super::decide::Need;
use super::queues::{Task, decode, encode};
use super::rows::{Class, Member, NO_PRINT, Twins, Writing, member, row};
use crate::limits::SORT_BYTES_MAX;
use crate::manifest::Entry;
use crate::sorting::{Sorted, Sorter};
use crate::tree::Fingerprint;

/// Takes what the comparison says of each entry.
pub(super) struct Gathering {
    state: PathBuf,
    digests: Sorter,
    /// What is to be done, by ordinal.
    tasks: Sorter,
    /// Whether anything with a digest needs work.
    has_need: bool,
}

/// What is to be done at once, in the order of the list.
pub(super) struct Tasks(Sorted);

/// What becomes of an entry that has a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The first of its digest, or one that cannot be the same file: it is seen to as always.
    Leads,
    /// Not the first, and on its own all the same.
    Apart,
    /// Its file is read, and if that is not right, it waits.
    Looks,
    /// It waits.
    Waits,
    /// It is right, and more of them can be made from it.
    Serves,
}

impl Gathering {
    /// `state` is where files without a name may be.
    pub(super) fn new(state: &Path) -> Self {
        let sorter = || Sorter::new(state, SORT_BYTES_MAX / 2);
        Self { state: state.to_owned(), digests: sorter(), tasks: sorter(), has_need: false }
    }

    /// Takes an entry, and the file that is there.
    pub(super) fn take(
        &mut self,
        entry: &Entry,
        task: &Task,
        there: Option<&Fingerprint>,
    ) -> io::Result<()> {
        let class = match &task.need {
            Need::Nothing => Class::Right,
            Need::Hash | Need::Look => Class::Unknown,
            Need::Fetch | Need::Link => Class::Missing,
            Need::Check(_) => return self.add(task),
        };
        let Some(checksum) = &entry.checksum else { return self.add(task) };
        self.has_need |= class != Class::Right;
        let there = there.filter(|_| class != Class::Missing);
        let size = there.filter(|_| class == Class::Right).map(|there| there.size);
        let member = Member {
            ordinal: task.ordinal,
            position: task.position,
            class,
            size: size.or(entry.size),
            print: there.copied().unwrap_or(NO_PRINT),
        };
        self.digests.push(&row(checksum, &member))
    }

    fn add(&mut self, task: &Task) -> io::Result<()> {
        if task.need == Need::Nothing {
            return Ok(());
        }
        self.tasks.push(&[&task.ordinal.to_be_bytes()[..], &encode(task)].concat())
    }

    /// Sorts: what is to be done, and what waits. Where it is only to be told, what waits for a file of
    /// another is among what is to be done.
    pub(super) fn finish(mut self, is_told: bool) -> io::Result<(Tasks, Twins)> {
        let mut writing = Writing::new(&self.state)?;
        let digests = std::mem::replace(&mut self.digests, Sorter::new(&self.state, 0));
        // Where all is right, nothing has to be linked.
        if self.has_need {
            let (mut sorted, mut grouping) = (digests.finish()?, Grouping::default());
            while let Some(row) = sorted.next()? {
                let Some((digest, member)) = member(row) else {
                    return Err(io::Error::other("a sorted row of the run is damaged"));
                };
                let (is_first, role) = grouping.role(digest, &member);
                let Member { ordinal, position, class, .. } = member;
                let need = match need(role, class) {
                    Need::Link if !is_told => Need::Nothing,
                    need => need,
                };
                self.add(&Task { ordinal, position, need })?;
                match (is_first, role) {
                    (true, _) => writing.begin(member),
                    (false, Role::Apart) => {}
                    (false, _) => writing.add(&member)?,
                }
            }
        }
        Ok((Tasks(self.tasks.finish()?), writing.finish()?))
    }
}

/// What is to be done at once for an entry.
fn need(role: Role, class: Class) -> Need {
    match (role, class) {
        (Role::Serves, _) | (_, Class::Right) => Need::Nothing,
        (Role::Waits, _) => Need::Link,
        (Role::Looks, _) => Need::Look,
        (_, Class::Unknown) => Need::Hash,
        (_, Class::Missing) => Need::Fetch,
    }
}

/// Deals the roles, row after row of what is sorted.
#[derive(Default)]
struct Grouping {
    digest: Vec<u8>,
    /// The size of whoever is first.
    size: Option<u64>,
    /// The file that was last.
    ino: u64,
}

impl Grouping {
    /// Whether a row is the first of its digest, and its role.
    fn role(&mut self, digest: &[u8], member: &Member) -> (bool, Role) {
        let last = std::mem::replace(&mut self.ino, member.print.ino);
        if self.digest != digest {
            digest.clone_into(&mut self.digest);
            self.size = member.size;
            let is_right = member.class == Class::Right;
            return (true, if is_right { Role::Serves } else { Role::Leads });
        }
        if let (Some(one), Some(other)) = (self.size, member.size)
            && one != other
        {
            return (false, Role::Apart);
        }
        let role = match member.class {
            Class::Right => Role::Serves,
            // Another name of a file need not be read again.
            Class::Unknown if member.print.ino != last => Role::Looks,
            Class::Unknown | Class::Missing => Role::Waits,
        };
        (false, role)
    }
}

impl Tasks {
    /// The next task; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Task>> {
        let Some(row) = self.0.next()? else { return Ok(None) };
        row.get(ORDINAL_BYTES + LENGTH_BYTES..).map(decode).transpose()
    }
}

/// What stands before an encoded task: what it is sorted by, and its length.
const ORDINAL_BYTES: usize = 8;
const LENGTH_BYTES: usize = 4;
