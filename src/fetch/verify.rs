//! Whether what has landed is the file: by its digest, by those of its stretches, or by what servers say.
//!
//! Where the whole is wrong and some of its stretches are right, those are kept for the next attempt.
//! Invariant: nothing is taken for the file on the word of a ledger; a run that finds all of it there looks
//! again.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{Fetch, Trial};
use crate::aside::aside;
use crate::board::Job;
use crate::digest::{Checksum, wrong_in};
use crate::error::{Error, Kind, Result};
use crate::meter::Phase;
use crate::options::Verified;
use crate::sink::Sink;

/// What ties the bytes to one version: a digest where there is one.
///
/// # Errors
/// `Kind::Digest` if the file is wrong; then nothing of it is left but the stretches that are right.
pub(super) async fn verify(fetch: &Fetch, job: &Job, size: u64) -> Result<Verified> {
    match (&fetch.options.checksum, &fetch.options.trial) {
        (Some(wanted), trial) => by_digest(fetch, job, size, wanted, trial.as_deref()).await,
        (None, Some(trial)) => by_stretches(fetch, job, size, trial).await,
        (None, None) => Ok(match job.responses.load(Relaxed) {
            0 | 1 if job.resumed_bytes == 0 => Verified::OneResponse,
            _ if job.version.is_strong() => Verified::Validator,
            _ => Verified::Nothing,
        }),
    }
}

async fn by_digest(
    fetch: &Fetch,
    job: &Job,
    size: u64,
    wanted: &Checksum,
    trial: Option<&Trial>,
) -> Result<Verified> {
    fetch.meter.set_phase(Phase::Verifying);
    let found = match &job.sink {
        Sink::Stream(stream) => stream.finish(),
        _ => job.digesting.finish(size).await?,
    };
    match found {
        Some(found) if found == *wanted => Ok(Verified::Digest(found)),
        Some(found) => {
            let is_kept = match trial.filter(|trial| trial.stretches().covers(size)) {
                // What cannot be read back is not kept.
                Some(trial) => match wrong_stretches(fetch, job, size, trial).await {
                    Ok(wrong) => keep_right(job, size, trial, &wrong),
                    Err(_) => false,
                },
                None => false,
            };
            if !is_kept {
                job.forget();
            }
            Err(mismatch(wanted, &found))
        }
        None => {
            Err(Error::new(Kind::Usage, "a checksum needs a file or a stream to be computed over"))
        }
    }
}

async fn by_stretches(fetch: &Fetch, job: &Job, size: u64, trial: &Trial) -> Result<Verified> {
    fetch.meter.set_phase(Phase::Verifying);
    let wrong = wrong_stretches(fetch, job, size, trial).await?;
    if wrong.is_empty() {
        return Ok(Verified::Stretches);
    }
    if !keep_right(job, size, trial, &wrong) {
        job.forget();
    }
    let (wrong, all) = (wrong.len(), trial.stretches().count());
    let message = format!("{wrong} of {all} stretches of the file do not have their digests");
    Err(Error::new(Kind::Digest, message))
}

/// Reads the file back; the stretches that are wrong.
async fn wrong_stretches(fetch: &Fetch, job: &Job, size: u64, trial: &Trial) -> Result<Vec<u64>> {
    let Some((file, target)) = job.file() else {
        return Err(Error::new(Kind::Internal, "stretches are compared in a file only"));
    };
    let (stretches, meter) = (Arc::clone(trial.stretches()), Arc::clone(&fetch.meter));
    let reading = Reading::default();
    let stopped = Arc::clone(&reading.stopped);
    let read = aside(move || {
        wrong_in(&file, size, &stretches, &meter, &stopped).map_err(|(offset, error)| {
            Error::local(&format!("read back from byte {offset} of"), &target, error)
        })
    });
    read.await?.ok_or_else(|| Error::new(Kind::Interrupted, "interrupted"))
}

/// Stops who reads when nobody waits for it any more.
#[derive(Default)]
struct Reading {
    stopped: Arc<AtomicBool>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stopped.store(true, Relaxed);
    }
}

/// Has the ledger take back what is wrong of a file. False if nothing is to be kept: all is wrong, or none of
/// it, or no ledger remembers what is right.
fn keep_right(job: &Job, size: u64, trial: &Trial, wrong: &[u64]) -> bool {
    let ranges = ranges(wrong.iter().map(|index| trial.stretches().extent(*index, size)));
    ranges.iter().for_each(|range| trial.convict(range));
    let wrong_bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    if wrong_bytes == 0 || wrong_bytes >= size {
        return false;
    }
    let is_kept = job.ledger().is_some_and(|ledger| ledger.disown(&ranges));
    if is_kept {
        trial.keep();
    }
    is_kept
}

/// Ascending ranges, those joined that touch.
fn ranges(extents: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for extent in extents.filter(|extent| !extent.is_empty()) {
        match ranges.last_mut() {
            Some(last) if last.end == extent.start => last.end = extent.end,
            _ => ranges.push(extent),
        }
    }
    ranges
}

fn mismatch(wanted: &Checksum, found: &Checksum) -> Error {
    Error::new(Kind::Digest, format!("the file has {found}, not {wanted}"))
        .hint("check where the digest came from; -H 'Cache-Control: no-cache' goes around a cache")
}
