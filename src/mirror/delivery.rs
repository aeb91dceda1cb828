//! A body on its way from the answer to its name in the tree.
//!
//! It is received into one buffer, hashed while it is there, and written at once through the page cache.
//! Invariant: a name gets only a file whose length is what the server and the list said and whose digest is
//! the one of the list.

use std::sync::Arc;

use url::Url;

use super::decide::Known;
use super::errand::{Done, Runner};
use super::evidence::{Checking, check_size, is_same, record};
use super::host::Claim;
use super::page::{Patience, Trouble, receive};
use super::results::Ending;
use crate::block::{Block, Place};
use crate::error::{Error, Kind};
use crate::gate::{Answer, Version};
use crate::io::Received;
use crate::limits::{ENTRY_LARGE_BYTES, RECEIVE_SLICE};
use crate::manifest::Entry;
use crate::tree::Draft;
use crate::units::{narrow, wide};
use crate::wire::Response;

impl Runner {
    /// Takes a body, unless it is the version that is there.
    pub(super) async fn body(
        &mut self,
        claim: &Claim,
        entry: &Entry,
        from: &Url,
        known: Option<&Known>,
        answer: Answer,
        response: Response,
    ) -> Result<Done, Trouble> {
        let shared = Arc::clone(&self.shared);
        check_size(entry, answer.version.size)?;
        if let Some(known) = known
            && let Some(there) = shared.tree.stat(&entry.path)?
            && is_same(known, &answer.version, &there)
        {
            // It does not say 304, and means it.
            response.drain(&shared.order.options.client, RECEIVE_SLICE).await;
            return Ok(Done::Ended(self.unchanged(entry, Some(&answer.version))?));
        }
        if let (Some(size), Some(most)) = (answer.version.size, shared.order.options.max_filesize)
            && size > most
        {
            let message = format!("the file has {size} bytes, and --max-filesize allows {most}");
            return Err(Error::new(Kind::Refused, message).into());
        }
        let is_split = shared.order.is_split(entry);
        if is_split && answer.version.size.is_some_and(|size| size > ENTRY_LARGE_BYTES) {
            return Ok(Done::IsLarge);
        }
        self.receive(claim, entry, from, &answer, response).await
    }

    async fn receive(
        &mut self,
        claim: &Claim,
        entry: &Entry,
        from: &Url,
        answer: &Answer,
        mut response: Response,
    ) -> Result<Done, Trouble> {
        let shared = Arc::clone(&self.shared);
        let options = &shared.order.options;
        let place = Place { index: 0, offset: 0, length: BUFFER_BYTES };
        let mut block = self.buffer.take().unwrap_or_else(|| Block::own(place));
        block.clear();
        let (mut draft, mut checking) = (None, Checking::new(entry));
        let (mut at, mut end) = (0, 0);
        let mut patience = Patience::new(options.stall_timeout);
        loop {
            let left = answer.length.map_or(u64::MAX, |length| length - end);
            if left == 0 {
                break;
            }
            let room = narrow(wide(block.wanted() - block.filled()).min(left));
            let max = shared.throttle(room).await;
            let filled = block.filled();
            let result;
            (result, block) = receive(&mut response, block, max, &mut patience).await;
            let count = block.filled() - filled;
            shared.give_back(max - count);
            shared.counts.add_bytes(from, wide(count));
            end += wide(count);
            if result? == Received::End {
                break;
            }
            if entry.size.is_some_and(|size| end > size) {
                check_size(entry, Some(end))?;
            }
            if block.is_full() {
                let draft = match &draft {
                    Some(draft) => draft,
                    None => draft.insert(shared.tree.create(&entry.path)?),
                };
                checking.update(block.bytes());
                draft.write_all_at(block.bytes(), at)?;
                at = end;
                block.clear();
            }
        }
        if answer.length.is_some_and(|length| length != end) {
            let message = "the server ended the body before the length it had announced";
            return Err(Error::new(Kind::Reset, message).into());
        }
        match answer.reusable {
            true => response.recycle(&options.client),
            false => drop(response),
        }
        check_size(entry, Some(end))?;
        shared.hosts.answered(claim);
        // Somebody else asks before this is written: the server need not wait for our disk.
        tokio::task::yield_now().await;
        let draft = match draft {
            Some(draft) => draft,
            None => shared.tree.create(&entry.path)?,
        };
        checking.update(block.bytes());
        draft.write_all_at(block.bytes(), at)?;
        self.buffer = Some(block);
        Ok(Done::Ended(self.publish(entry, &answer.version, draft, checking, end)?))
    }

    /// Gives a whole file its name.
    pub(super) fn publish(
        &self,
        entry: &Entry,
        version: &Version,
        draft: Draft<'_>,
        checking: Checking<'_>,
        size: u64,
    ) -> Result<Ending, Trouble> {
        checking.finish()?;
        let modified = entry.modified.or_else(|| version.modified());
        let there = self.shared.tree.publish(draft, &entry.path, modified)?;
        debug_assert_eq!(there.size, size);
        Ok(Ending::Fetched(record(entry, &there, Some(version))))
    }

    /// The file that is there is the one; what the server said of it now is kept.
    pub(super) fn unchanged(
        &self,
        entry: &Entry,
        version: Option<&Version>,
    ) -> Result<Ending, Trouble> {
        let Some(version) = version else { return Ok(Ending::Unchanged(None)) };
        let there = self.shared.tree.stat(&entry.path)?;
        Ok(Ending::Unchanged(there.map(|there| record(entry, &there, Some(version)))))
    }
}

/// Bytes of a body that are received, hashed and written at once.
pub(super) const BUFFER_BYTES: usize = 256 << 10;
