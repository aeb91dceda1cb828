//! Entries that wait for another of the same digest get their files from it, group by group, when all that
//! was to be fetched has come to its end.
//!
//! Nothing is fetched here: what cannot be linked is queued, and seen to as if it were alone. Invariant: a
//! file is a source only while it is the very file whose digest was compared, in this run or in the one that
//! the snapshot tells of; and what was linked is entered in the books only if that was so to the end.
//!
//! A file that gets one more name has another time of change, which is part of its fingerprint. So the books
//! are told of all its names when the last of a group is made.

use std::ops::Range;
use std::path::Path;

use super::Dedupe;
use super::compare::queue;
use super::counts::Stage;
use super::crew::Shared;
use super::decide::Need;
use super::evidence::record;
use super::queues::{Filling, Queue, Task};
use super::results::{Ending, Link};
use super::rows::{Class, Member, Row, Twins};
use crate::crash;
use crate::error::{Error, Kind, Result};
use crate::manifest::Entry;
use crate::meter::Event;
use crate::tree::{Fingerprint, Source};

/// Makes files from others of their digest.
pub(super) struct Linker<'a> {
    shared: &'a Shared,
    twins: &'a Twins,
    state: &'a Path,
    how: Dedupe,
    /// The file system has not said that it cannot.
    can_reflink: bool,
    /// It has been told that something cannot be linked.
    is_told: bool,
    filling: Filling,
}

/// Where the others of a group come from.
struct Origin {
    source: Source,
    /// The file of the books.
    known: Fingerprint,
    path: String,
}

/// What became of an entry that waits.
enum Made {
    Ended,
    /// It has the name, and the books are to be told.
    Named,
    /// The source can have no more names.
    Full,
    /// It cannot be linked.
    Refused,
}

impl<'a> Linker<'a> {
    pub(super) fn new(shared: &'a Shared, twins: &'a Twins, how: Dedupe, state: &'a Path) -> Self {
        let filling = Filling::new(state);
        Self { shared, twins, state, how, can_reflink: true, is_told: false, filling }
    }

    /// Links what can be linked now; gives what has to be fetched. Where there is no source, or it can have
    /// no more names, the next of the group is fetched, and the rest waits for another pass, unless this is
    /// the last.
    ///
    /// # Errors
    /// Whatever ends the run: the disk is full, the books cannot be written, or it is to end.
    pub(super) fn pass(&mut self, is_last: bool) -> Result<Vec<Queue>> {
        if self.twins.count() > 0 {
            self.shared.counts.set_stage(Stage::Linking);
        }
        let mut start = 0;
        while start < self.twins.count() {
            let mut end = start + 1;
            while end < self.twins.count() && !self.at(end)?.is_first {
                end += 1;
            }
            self.group(start..end, is_last)?;
            start = end;
        }
        let filling = std::mem::replace(&mut self.filling, Filling::new(self.state));
        filling.finish().map_err(|error| Error::local("write", self.state, error))
    }

    /// Goes through the rows of one digest.
    fn group(&mut self, rows: Range<u64>, is_last: bool) -> Result<()> {
        if !self.recognize(rows.clone())? {
            return Ok(());
        }
        let mut origin = self.origin(rows.clone())?;
        // Where one could not be had, nobody waits for another.
        let is_first_fetched = origin.is_none() && !self.has_failed(rows.clone())?;
        let (mut rest_waits, mut is_named) = (false, false);
        for row in rows.clone() {
            let member = self.at(row)?.member;
            if !self.is_waiting(&member) || (rest_waits && !is_last) {
                continue;
            }
            let entry = self.shared.catalog.read_at(member.position)?;
            let made = match &mut origin {
                Some(origin) => self.make(origin, &entry, &member)?,
                None => Made::Refused,
            };
            crash::point();
            match made {
                Made::Ended => {}
                Made::Named => {
                    is_named = true;
                    self.twins.mark(row).map_err(unreadable)?;
                }
                Made::Full | Made::Refused => {
                    // The rest has this one for a source in the next pass.
                    rest_waits |= is_first_fetched || matches!(made, Made::Full);
                    self.queue(&entry, &member)?;
                }
            }
        }
        match origin {
            Some(origin) if is_named => self.settle(rows, origin),
            _ => Ok(()),
        }
    }

    /// Ends what is another name of a file that was read; whether anything waits then.
    fn recognize(&self, rows: Range<u64>) -> Result<bool> {
        let (mut right, mut waits) = (None, false);
        for row in rows {
            let member = self.at(row)?.member;
            if !self.is_waiting(&member) {
                right = self.print(&member)?;
                continue;
            }
            if let Some(right) = right.filter(|right| right.ino == member.print.ino) {
                let entry = self.shared.catalog.read_at(member.position)?;
                if self.shared.tree.stat(&entry.path).ok().flatten() == Some(right) {
                    let ending = Ending::Unchanged(Some(record(&entry, &right, None)));
                    self.shared.tally.end(member.ordinal, &entry, ending)?;
                    continue;
                }
            }
            waits = true;
        }
        Ok(waits)
    }

    /// Whether an entry of a group has failed.
    fn has_failed(&self, rows: Range<u64>) -> Result<bool> {
        for row in rows {
            let member = self.at(row)?.member;
            if !self.is_waiting(&member) && self.print(&member)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The file of a group to make others from: one that is right and still what it was, with few names.
    fn origin(&self, rows: Range<u64>) -> Result<Option<Origin>> {
        let mut best: Option<Origin> = None;
        for row in rows {
            let member = self.at(row)?.member;
            let Some(print) = self.print(&member)? else { continue };
            match &best {
                Some(best) if best.source.names == 1 => break,
                Some(best) if best.source.print().ino == print.ino => continue,
                _ => {}
            }
            let path = match member.class {
                Class::Unlisted => self.twins.path(member.position).map_err(unreadable)?,
                _ => self.shared.catalog.read_at(member.position)?.path,
            };
            // What has gone meanwhile, or cannot be read, is no source.
            let Ok(source) = self.shared.tree.source(&path) else { continue };
            let is_less = best.as_ref().is_none_or(|best| source.names < best.source.names);
            if source.print() == print && is_less {
                best = Some(Origin { source, known: print, path });
            }
        }
        Ok(best)
    }

    /// Makes the file of an entry.
    fn make(&mut self, origin: &mut Origin, entry: &Entry, member: &Member) -> Result<Made> {
        let print = origin.source.print();
        let most = self.shared.order.options.max_filesize;
        if entry.size.is_some_and(|size| size != print.size)
            || most.is_some_and(|most| print.size > most)
        {
            return Ok(Made::Refused);
        }
        let tree = &self.shared.tree;
        if self.how != Dedupe::Hardlink && self.can_reflink {
            match tree.reflink(&mut origin.source, &entry.path, entry.modified) {
                Ok(there) => {
                    let link = Link { from: origin.path.clone(), how: "reflink" };
                    let ending = Ending::Linked(record(entry, &there, None), link);
                    self.shared.tally.end(member.ordinal, entry, ending)?;
                    return Ok(Made::Ended);
                }
                Err(error) => self.refused(error, self.how == Dedupe::Reflink)?,
            }
        }
        if self.how == Dedupe::Reflink {
            return Ok(Made::Refused);
        }
        match tree.hard_link(&origin.source, &entry.path) {
            Ok(()) => Ok(Made::Named),
            Err(error) if number(&error) == Some(libc::EMLINK) => Ok(Made::Full),
            Err(error) => self.refused(error, true).map(|()| Made::Refused),
        }
    }

    /// Something cannot be linked; that is told once.
    ///
    /// # Errors
    /// If nothing else can be written either.
    fn refused(&mut self, error: Error, is_final: bool) -> Result<()> {
        if error.kind() == Kind::NoSpace {
            return Err(error);
        }
        if number(&error).is_some_and(|number| NEVER.contains(&number)) && !is_final {
            self.can_reflink = false;
        }
        if is_final && !std::mem::replace(&mut self.is_told, true) {
            let message = format!("not everything can be linked, the rest is fetched: {error}");
            self.shared.counts.tell(Event::Notice(message));
        }
        Ok(())
    }

    /// Enters in the books what has one file with the source now.
    fn settle(&mut self, rows: Range<u64>, mut origin: Origin) -> Result<()> {
        let known = origin.known;
        let is_same = origin.source.look()?;
        let now = origin.source.print();
        for row in rows {
            let Row { member, is_named, .. } = self.at(row)?;
            let waits = self.is_waiting(&member);
            let is_renewed = !waits
                && member.class != Class::Unlisted
                && now != known
                && self.print(&member)? == Some(known);
            if !(is_renewed || (waits && is_named)) {
                continue;
            }
            crash::point();
            let entry = self.shared.catalog.read_at(member.position)?;
            let there = self.shared.tree.stat(&entry.path).ok().flatten();
            let is_right = is_same && there == Some(now);
            let record = record(&entry, &now, None);
            match (is_right, waits) {
                (true, false) => self.shared.tally.renew(record)?,
                (true, true) => {
                    let link = Link { from: origin.path.clone(), how: "hardlink" };
                    let ending = Ending::Linked(record, link);
                    self.shared.tally.end(member.ordinal, &entry, ending)?;
                }
                // Somebody has written to it, or put something else there.
                (false, true) => self.queue(&entry, &member)?,
                (false, false) => {}
            }
        }
        Ok(())
    }

    fn queue(&mut self, entry: &Entry, member: &Member) -> Result<()> {
        // What was there has been read, if anything was.
        let Member { ordinal, position, .. } = *member;
        let task = Task { ordinal, position, need: Need::Fetch };
        let queued = queue(&self.shared.order, &mut self.filling, entry, &task);
        queued.map_err(|error| Error::local("write", self.state, error))
    }

    /// The file of an entry whose digest was compared.
    fn print(&self, member: &Member) -> Result<Option<Fingerprint>> {
        match member.class {
            Class::Right | Class::Unlisted => Ok(Some(member.print)),
            Class::Unknown | Class::Missing => self.shared.tally.print(member.ordinal),
        }
    }

    /// A row, unless the run is to end: each is looked at a few times.
    fn at(&self, row: u64) -> Result<Row> {
        self.shared.limit.check()?;
        self.twins.at(row).map_err(unreadable)
    }

    fn is_waiting(&self, member: &Member) -> bool {
        member.class > Class::Unlisted && !self.shared.tally.has_ended(member.ordinal)
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::local("use", Path::new("what waits in the run"), error)
}

/// What the system said.
fn number(error: &Error) -> Option<i32> {
    error.system().and_then(std::io::Error::raw_os_error)
}

/// What file systems say that never share blocks (ioctl_ficlone(2)).
const NEVER: [i32; 5] = [libc::EOPNOTSUPP, libc::ENOTTY, libc::ENOSYS, libc::EINVAL, libc::EXDEV];
