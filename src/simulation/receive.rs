//! The bytes of one answer, some at a time: what `lane/receive` does without waiting.

use super::content::Tag;
use super::lane::{Haul, Stop};
use super::life::{Life, Problem};
use super::server::{Body, Fate};
use super::table::Anew;
use crate::error::Kind;
use crate::gate::Answer;
use crate::limits::SKIP_BYTES_MAX;

impl Life<'_> {
    /// Some bytes of an answer; the answer goes back into the haul unless it is over.
    pub(super) fn receive(
        &mut self,
        haul: &mut Haul,
        answer: Answer,
        body: Body,
    ) -> Result<(), Stop> {
        let (mut answer, mut body) = (answer, body);
        if answer.skip > SKIP_BYTES_MAX {
            return Err(self.anew(Anew::OneStream));
        }
        let skipped = answer.skip.min(body.left);
        (body.at, body.left) = (body.at + skipped, body.left - skipped);
        if skipped < std::mem::take(&mut answer.skip) {
            return Err(Stop::Failed(Problem { kind: Kind::Protocol, asked: None }));
        }
        let size = self.size().or(answer.version.size).unwrap_or(u64::MAX);
        let sized = answer.length.map_or(size, |length| answer.offset + length);
        let end = sized.min(haul.end).min(size);
        if haul.cursor >= end {
            if self.size().is_none() && end == size {
                self.note_end(haul)?;
            }
            return Ok(());
        }
        let block_size = self.world.block_size;
        let index = u32::try_from(haul.cursor / block_size).unwrap_or(u32::MAX);
        let now = self.ledger_now();
        if haul.block.is_empty() {
            if !self.table.claim(haul.lease.id, index) {
                return Err(Stop::LetGo);
            }
            self.table.begun(haul.lease.id, now);
        } else if !self.holds(haul) {
            return Err(Stop::LetGo);
        }
        let room = (u64::from(index) + 1) * block_size;
        let most = room.min(end) - haul.cursor;
        if body.left == 0 {
            return self.end_of_body(haul, &answer, &body);
        }
        let most = most.min(body.left);
        let count = if self.world.rng.u8(0..4) == 0 { self.world.rng.u64(1..=most) } else { most };
        let shift = body.at.cast_signed() - haul.cursor.cast_signed();
        haul.block.push((haul.cursor..haul.cursor + count, Tag { version: body.version, shift }));
        haul.cursor += count;
        self.world.fetched += count;
        (body.at, body.left) = (body.at + count, body.left - count);
        if haul.cursor == end && end == size && answer.length.is_none() {
            self.insist_on_end(&body)?;
        }
        if haul.cursor == room || haul.cursor == size {
            self.commit(haul)?;
        }
        haul.answer = Some((answer, body));
        Ok(())
    }

    /// A body that does not tell its length must end where the file does.
    fn insist_on_end(&mut self, body: &Body) -> Result<(), Stop> {
        match body.fate {
            _ if body.left > 0 => Err(self.anew(Anew::Changed)),
            Fate::Whole => Ok(()),
            Fate::Reset => Err(Stop::Failed(Problem { kind: Kind::Reset, asked: None })),
            Fate::Stall => Err(Stop::Failed(Problem { kind: Kind::Stall, asked: None })),
        }
    }

    fn end_of_body(&mut self, haul: &mut Haul, answer: &Answer, body: &Body) -> Result<(), Stop> {
        match body.fate {
            Fate::Stall => {
                self.world.now += crate::limits::STALL_TIMEOUT_DEFAULT;
                Err(Stop::Failed(Problem { kind: Kind::Stall, asked: None }))
            }
            Fate::Whole if answer.length.is_none() && self.size().is_none() => self.note_end(haul),
            Fate::Whole | Fate::Reset => {
                Err(Stop::Failed(Problem { kind: Kind::Reset, asked: None }))
            }
        }
    }

    /// A stream of unknown size ends at the cursor.
    fn note_end(&mut self, haul: &mut Haul) -> Result<(), Stop> {
        self.table.ended(haul.cursor);
        haul.end = haul.cursor;
        if haul.block.is_empty() { Ok(()) } else { self.commit(haul) }
    }
}
