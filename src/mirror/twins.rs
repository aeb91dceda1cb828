//! Which entries of the list are to have the same bytes: found by sorting digests on disk, so that memory
//! does not grow with the list.
//!
//! Entries of one digest are a group, with rows in a file for the pass that links them (`linking`). What is
//! there and not known is read, each file once. Where nothing is there, the first is fetched as if it were
//! alone; the others wait. Invariant: every entry that needs work is to be done at once, or has a row, so
//! that none is forgotten.

use std::io;
use std::path::{Path, PathBuf};

use super::decide::Need;
use super::queues::{Task, decode, encode};
use super::rows::{Class, Member, NO_PRINT, Paths, Twins, Writing, member, row};
use crate::catalog::{Proof, Record};
use crate::error::{Error, Result};
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
    paths: Paths,
}

/// What is to be done at once, in the order of the list.
pub(super) struct Tasks(Sorted);

/// What becomes of an entry that has a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The only one of its digest: it is seen to as always.
    Alone,
    /// The first of its digest.
    Leads,
    /// Not the first, but it cannot be the same file: on its own all the same.
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
    pub(super) fn new(state: &Path) -> io::Result<Self> {
        let sorter = || Sorter::new(state, SORT_BYTES_MAX / 2);
        let (digests, tasks, paths) = (sorter(), sorter(), Paths::new(state)?);
        Ok(Self { state: state.to_owned(), digests, tasks, has_need: false, paths })
    }

    /// Takes what is known of a file that the list does not have: it may be where an entry was before.
    pub(super) fn take_unlisted(&mut self, record: &Record) -> io::Result<()> {
        let (Some(checksum), Proof::Digest) = (&record.checksum, record.proof) else {
            return Ok(());
        };
        let member = Member {
            ordinal: 0,
            position: self.paths.add(&record.path)?,
            class: Class::Unlisted,
            size: Some(record.size),
            print: record.print(),
        };
        self.digests.push(&row(checksum, &member))
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

    fn add_member(&mut self, member: Option<Member>, role: Role) -> io::Result<()> {
        let Some(Member { ordinal, position, class, .. }) = member else { return Ok(()) };
        self.add(&Task { ordinal, position, need: need(role, class) })
    }

    /// Sorts: what is to be done, and what waits. Where it is only to be told, what waits for a file of
    /// another is among what is to be done.
    ///
    /// # Errors
    /// If a file cannot be written or read. Whatever `check` says, which is asked at each entry.
    pub(super) fn finish(
        mut self,
        is_told: bool,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<(Tasks, Twins)> {
        let state = self.state.clone();
        let failed = |error| Error::local("use", &state, error);
        let mut writing = Writing::new(&self.state).map_err(failed)?;
        let digests = std::mem::replace(&mut self.digests, Sorter::new(&self.state, 0));
        // Where all is right, nothing has to be linked.
        if self.has_need {
            let mut sorted = digests.finish().map_err(failed)?;
            let mut grouping = Grouping::default();
            // The first of a digest, until it is certain whether there are others.
            let mut first = None;
            while let Some(row) = sorted.next().map_err(failed)? {
                check()?;
                let Some((digest, member)) = member(row) else {
                    return Err(failed(io::Error::other("a sorted row of the run is damaged")));
                };
                let (is_first, role) = grouping.role(digest, &member);
                if is_first {
                    self.add_member(first.replace(member), Role::Alone).map_err(failed)?;
                    writing.begin(member);
                    continue;
                }
                if role != Role::Apart {
                    self.add_member(first.take(), Role::Leads).map_err(failed)?;
                    writing.add(&member).map_err(failed)?;
                }
                let is_left = role == Role::Waits && !is_told;
                self.add_member((!is_left).then_some(member), role).map_err(failed)?;
            }
            self.add_member(first, Role::Alone).map_err(failed)?;
        }
        let tasks = Tasks(self.tasks.finish().map_err(failed)?);
        Ok((tasks, writing.finish(self.paths).map_err(failed)?))
    }
}

/// What is to be done at once for an entry.
fn need(role: Role, class: Class) -> Need {
    match (role, class) {
        (_, Class::Right | Class::Unlisted) => Need::Nothing,
        (Role::Waits, _) => Need::Link,
        // If none of them is right, the first is fetched in the next turn.
        (Role::Leads | Role::Looks, Class::Unknown) => Need::Look,
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
            return (true, Role::Leads);
        }
        if let (Some(one), Some(other)) = (self.size, member.size)
            && one != other
        {
            return (false, Role::Apart);
        }
        let role = match member.class {
            Class::Right | Class::Unlisted => Role::Serves,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    struct Given {
        digest: u8,
        class: Class,
        size: Option<u64>,
        ino: u64,
    }

    fn given() -> impl Strategy<Value = Given> {
        let class = prop_oneof![
            Just(Class::Right),
            Just(Class::Unlisted),
            Just(Class::Unknown),
            Just(Class::Missing)
        ];
        (0..5_u8, class, prop::option::of(7..9_u64), 1..4_u64)
            .prop_map(|(digest, class, size, ino)| Given { digest, class, size, ino })
    }

    fn entry(given: &Given) -> Entry {
        let digest = format!("md5={}", format!("{:02x}", given.digest).repeat(16));
        Entry {
            path: "f".into(),
            urls: vec!["http://h/f".parse().unwrap()],
            size: given.size,
            checksum: Some(digest.parse().unwrap()),
            stretches: None,
            modified: None,
            line: 1,
        }
    }

    fn there(given: &Given) -> Fingerprint {
        let size = given.size.unwrap_or(7);
        Fingerprint { size, mtime_ns: -5, ino: given.ino, ctime_ns: i64::MAX }
    }

    fn record(given: &Given, path: String) -> Record {
        Record { path, ..super::super::evidence::record(&entry(given), &there(given), None) }
    }

    /// What is to be done at once, and the ordinals of each group.
    type Dealt = (BTreeMap<u64, Need>, Vec<Vec<u64>>);

    fn dealt(all: &[Given]) -> Dealt {
        let directory = tempfile::tempdir().unwrap();
        let mut gathering = Gathering::new(directory.path()).unwrap();
        for (ordinal, given) in (0..).zip(all) {
            let need = match given.class {
                Class::Unlisted => {
                    let record = record(given, format!("{}{ordinal}", "x".repeat(9)));
                    gathering.take_unlisted(&record).unwrap();
                    continue;
                }
                Class::Right => Need::Nothing,
                Class::Unknown => Need::Hash,
                Class::Missing => Need::Fetch,
            };
            let task = Task { ordinal, position: ordinal * 100, need };
            gathering.take(&entry(given), &task, Some(&there(given))).unwrap();
        }
        let (mut tasks, twins) = gathering.finish(false, &|| Ok(())).unwrap();
        let mut needs = BTreeMap::new();
        let mut last = None;
        while let Some(task) = tasks.next().unwrap() {
            assert!(last < Some(task.ordinal), "in the order of the list, none twice");
            assert_eq!(task.position, task.ordinal * 100);
            last = Some(task.ordinal);
            needs.insert(task.ordinal, task.need);
        }
        let mut groups: Vec<Vec<u64>> = Vec::new();
        for at in 0..twins.count() {
            let row = twins.at(at).unwrap();
            if row.is_first {
                groups.push(Vec::new());
            }
            let mut ordinal = row.member.ordinal;
            if row.member.class == Class::Unlisted {
                let path = twins.path(row.member.position).unwrap();
                ordinal = path.trim_start_matches('x').parse().unwrap();
            }
            let given = &all[usize::try_from(ordinal).unwrap()];
            let print = if given.class == Class::Missing { NO_PRINT } else { there(given) };
            assert_eq!((row.member.class, row.member.print), (given.class, print));
            groups.last_mut().unwrap().push(ordinal);
        }
        groups.iter_mut().for_each(|group| group.sort_unstable());
        groups.sort();
        (needs, groups)
    }

    /// The same, made with maps in memory.
    fn wanted(all: &[Given]) -> Dealt {
        let (mut needs, mut groups) = (BTreeMap::new(), Vec::new());
        if all.iter().all(|given| given.class <= Class::Unlisted) {
            return (needs, groups);
        }
        let mut kinds: BTreeMap<u8, Vec<(Class, u64, u64)>> = BTreeMap::new();
        for (ordinal, given) in (0..).zip(all) {
            let ino = if given.class == Class::Missing { 0 } else { given.ino };
            kinds.entry(given.digest).or_default().push((given.class, ino, ordinal));
        }
        let size = |class: Class, ordinal: u64| {
            let given = &all[usize::try_from(ordinal).unwrap()];
            if class <= Class::Unlisted { Some(there(given).size) } else { given.size }
        };
        for mut members in kinds.into_values() {
            members.sort_unstable();
            let first = size(members[0].0, members[0].2);
            let is_one = |(class, _, ordinal): &(Class, u64, u64)| {
                size(*class, *ordinal).is_none_or(|one| first.is_none_or(|first| first == one))
            };
            let group: Vec<_> = members.iter().copied().filter(is_one).collect();
            for (at, (class, ino, ordinal)) in members.iter().enumerate() {
                let is_alone = group.len() == 1 || !is_one(&members[at]);
                let is_known = at > 0 && members[at - 1].1 == *ino;
                let need = match class {
                    Class::Right | Class::Unlisted => continue,
                    Class::Missing if is_alone || at == 0 => Need::Fetch,
                    Class::Missing => continue,
                    Class::Unknown if is_alone => Need::Hash,
                    Class::Unknown if is_known => continue,
                    Class::Unknown => Need::Look,
                };
                needs.insert(*ordinal, need);
            }
            if group.len() > 1 {
                let mut group: Vec<_> = group.into_iter().map(|(.., ordinal)| ordinal).collect();
                group.sort_unstable();
                groups.push(group);
            }
        }
        groups.sort();
        (needs, groups)
    }

    proptest! {
        #[test]
        fn groups_are_those_that_maps_in_memory_give(
            all in prop::collection::vec(given(), 0..40),
        ) {
            prop_assert_eq!(dealt(&all), wanted(&all));
        }
    }

    #[test]
    fn what_came_right_is_found_by_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let prints = super::super::rows::Prints::new(directory.path()).unwrap();
        let given = Given { digest: 1, class: Class::Missing, size: None, ino: 77 };
        prints.put(9, &record(&given, "f".into())).unwrap();
        let found = [0, 8, 9, 10, 1 << 40].map(|ordinal| prints.find(ordinal).unwrap());
        assert_eq!(found, [None, None, Some(there(&given)), None, None]);
    }
}
