//! A large entry: the engine splits it over lanes and makes it beside the tree, and the tree takes it over.
//!
//! What is begun stays where it is when an attempt fails, and the next goes on from there. So does what is
//! right of a file that came wrong, where the list tells that by stretches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::errand::Runner;
use super::evidence::{check_size, record};
use super::host::Claim;
use super::page::Trouble;
use super::results::Ending;
use crate::fetch::Trial;
use crate::limits::RECEIVE_SLICE;
use crate::manifest::Entry;
use crate::options::{Connections, Options, Target};

/// What the stretches of large entries have shown, by ordinal, until those have their endings.
#[derive(Default)]
pub(super) struct Trials(Mutex<BTreeMap<u64, Arc<Trial>>>);

impl Trials {
    /// The trial of an entry, if the list has digests of its stretches.
    fn of(&self, ordinal: u64, entry: &Entry) -> Option<Arc<Trial>> {
        let stretches = entry.stretches.as_ref()?;
        let begin = || Arc::new(Trial::new(Arc::clone(stretches), entry.urls.len()));
        Some(Arc::clone(self.all().entry(ordinal).or_insert_with(begin)))
    }

    /// Whether an attempt has left what was right for the next.
    pub(super) fn has_kept(&self, ordinal: u64) -> bool {
        self.all().get(&ordinal).is_some_and(|trial| trial.has_kept())
    }

    /// The entry has its ending.
    pub(super) fn end(&self, ordinal: u64) {
        self.all().remove(&ordinal);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Trial>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runner {
    /// Has the engine fetch a large file, over several connections, beside the tree, and takes it over.
    pub(super) async fn large(&self, claim: &Claim, entry: &Entry) -> Result<Ending, Trouble> {
        let shared = &self.shared;
        let name = blake3::hash(entry.path.as_bytes()).to_hex();
        let target = shared.tree.large_directory().join(&name[..32]);
        let options = Options {
            connections: Connections::exactly(claim.connections),
            checksum: entry.checksum.clone(),
            alternates: entry.urls[1..].to_vec(),
            overwrite: true,
            max_time: None,
            trial: shared.trials.of(claim.task.ordinal, entry),
            ..shared.order.options.clone()
        };
        shared.counts.add_request();
        let download =
            crate::engine::start(entry.urls[0].clone(), Target::File(target.clone()), &options);
        let meter = Arc::clone(download.meter());
        let mut wait = std::pin::pin!(download.wait());
        let mut told = 0;
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut wait => break outcome,
                () = tokio::time::sleep(RECEIVE_SLICE) => {}
            }
            let fetched = meter.fetched();
            shared.counts.add_bytes(&entry.urls[0], fetched.saturating_sub(told));
            told = told.max(fetched);
        };
        shared.counts.add_bytes(&entry.urls[0], meter.fetched().saturating_sub(told));
        let outcome = outcome?;
        if let Err(error) = check_size(entry, Some(outcome.bytes)) {
            let _ = std::fs::remove_file(&target);
            return Err(error.into());
        }
        let there = shared.tree.adopt(&target, &entry.path, entry.modified)?;
        Ok(Ending::Fetched(record(entry, &there, None)))
    }
}
