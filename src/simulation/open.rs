//! What a life does for the next: goes on from what is there, or begins with nothing.

use std::fs::{self, File};
use std::sync::Arc;
use std::time::Instant;

use super::disk::Disk;
use super::lane::Lane;
use super::life::{Job, Left, Life};
use super::server::Body;
use super::table::{Anew, Manner, Stage};
use crate::error::Kind;
use crate::gate::{Answer, Version};
use crate::ledger::{self, Found, Ledger};
use crate::plan::Plan;

impl Life<'_> {
    /// The first bytes to ask for.
    pub(super) fn first_range(&self, manner: Manner) -> Option<std::ops::Range<u64>> {
        if manner == Manner::OneStream {
            return None;
        }
        let missing = match &self.left {
            Some(left) => {
                let size = left.found.head().size;
                let plan = self.left_plan(left);
                plan.first_free().unwrap_or(size - 1..size)
            }
            None => 0..u64::MAX,
        };
        let few = self.world.block_size * u64::from(crate::limits::PROBE_BLOCKS);
        let most = if self.world.lanes == 1 { u64::MAX } else { missing.start + few };
        Some(missing.start..missing.end.min(most))
    }

    fn left_plan(&self, left: &Left) -> Plan {
        let size = left.found.head().size;
        let plan = Plan::resumed(size, self.world.block_size, left.landed.iter());
        plan.expect("proof: the files of this world are small")
    }

    pub(super) fn left_version(&self) -> Option<Version> {
        self.left.as_ref().map(|left| left.found.head().version())
    }

    /// Removes what an earlier life has left.
    pub(super) fn forget_left(&mut self) -> bool {
        let was = self.left.take().is_some();
        if was {
            self.world.note(|| "forgets what was left".into());
            self.world.disk.remove();
            let _ = fs::remove_file(&self.world.disk.ledger);
        }
        was
    }

    /// Opens part file, ledger and plan for the first answer.
    pub(super) fn open(&mut self, answer: &Answer, body: Body, lane: &mut Lane) {
        let (version, size) = (answer.version.clone(), answer.version.size);
        let whole = answer.length == size && answer.offset == 0;
        if answer.ranged && !whole && !version.is_strong() {
            self.table.start_anew(Stage::Probing, Anew::OneStream, Kind::Protocol);
            return self.let_go(lane);
        }
        let several = answer.ranged && version.is_strong();
        let manner = if several { Manner::Ranges } else { Manner::OneStream };
        let same = self.left_version().is_some_and(|known| known.differs(&version).is_none());
        if !(several && same) {
            self.forget_left();
        }
        let mut there = Vec::new();
        let (plan, part) = match self.left.take() {
            Some(left) => {
                let plan = self.left_plan(&left);
                there.extend(left.landed.iter());
                self.world.note(|| format!("goes on from {there:?}"));
                self.go_on(left.found);
                (plan, self.world.disk.part().unwrap_or(0))
            }
            None => {
                let part = self.world.disk.create();
                self.begin_ledger(&version, manner, part);
                let plan = Plan::new(size, self.world.block_size);
                (plan.expect("proof: the files of this world are small"), part)
            }
        };
        let blocks =
            answer.length.map_or(u64::MAX, |length| length.div_ceil(self.world.block_size));
        let serves = plan.first_free().is_some_and(|free| free.start == answer.offset);
        let blocks = if serves { u32::try_from(blocks).unwrap_or(u32::MAX) } else { 0 };
        self.world.left_bytes = plan.landed_bytes();
        self.job = Some(Job { version, manner, part, unconditional: false });
        match self.table.run(plan, blocks, &there) {
            Some(lease) => self.haul(lane, lease, Some((answer.clone(), body))),
            None => self.let_go(lane),
        }
    }

    fn go_on(&mut self, found: Found) {
        let epoch = self.world.disk.epoch();
        self.is_resumed = true;
        self.clock = (Instant::now(), self.world.now);
        let ledger = found
            .resume(&self.world.file, epoch, self.world.rng.bool())
            .expect("proof: its file was just read");
        self.ledger = Some(Arc::new(ledger));
    }

    fn begin_ledger(&mut self, version: &Version, manner: Manner, part: u64) {
        self.is_resumed = false;
        let Some(size) = version.size.filter(|size| *size > self.world.block_size) else { return };
        if manner != Manner::Ranges {
            return;
        }
        let head = ledger::Head {
            format: ledger::FORMAT,
            url: "u".into(),
            digest: None,
            size,
            etag: version.etag.clone(),
            last_modified: version.last_modified.clone(),
            date_is_strong: version.date_is_strong,
            is_page: version.is_page,
            part: Disk::name_of(part),
            allocated: true,
        };
        let (path, epoch) = (self.world.disk.ledger.clone(), self.world.disk.epoch());
        let _ = fs::remove_file(&path);
        self.clock = (Instant::now(), self.world.now);
        let file: &File = &self.world.file;
        let ledger = Ledger::create(&path, file, head, epoch, self.world.rng.bool());
        self.ledger = Some(Arc::new(ledger.expect("proof: nothing else has this name")));
    }

    /// The bytes count no more: the download starts anew.
    pub(super) fn forget(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            ledger.forget();
        }
        self.syncs.clear();
        self.world.disk.remove();
        self.is_resumed = false;
    }
}
