//! The ledger as a file: created, found, gone on with, and spoiled.

use std::os::unix::fs::FileExt as _;

use super::tests::{head, one, ranges};
use super::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn a_ledger_on_disk_is_found_and_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let part = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(dir.path().join("part"))
        .unwrap();
    part.write_all_at(&[1; 100], 0).unwrap();
    let path = dir.path().join("ledger");
    assert!(Found::read(&path).unwrap().is_none());
    let ledger = Arc::new(Ledger::create(&path, &part, head(100), "a".into(), false).unwrap());
    assert!(ledger.parting_sync(Instant::now()).is_none(), "nothing has landed");
    ledger.landed(0..10);
    let due = ledger.parting_sync(Instant::now()).unwrap();
    assert!(ledger.parting_sync(Instant::now()).is_none(), "one at a time");
    block_on(due.settle(|file| async move { file.sync_data() })).unwrap();
    ledger.landed(20..30);
    assert!(ledger.is_ours());
    drop(ledger);
    let found = Found::read(&path).unwrap().unwrap();
    assert_eq!(ranges(&found.landed("a")), [0..10, 20..30]);
    assert_eq!(ranges(&found.landed("b")), one(0..10));
    let ledger = Arc::new(found.resume(&part, "b".into(), false).unwrap());
    ledger.landed(40..50);
    let due = ledger.parting_sync(Instant::now()).unwrap();
    let failed = block_on(due.settle(|_| async { Err(io::Error::other("broken disk")) }));
    assert!(failed.is_err() && ledger.parting_sync(Instant::now()).is_none(), "never tried again");
    ledger.landed(60..70);
    drop(ledger);
    let found = Found::read(&path).unwrap().unwrap();
    assert_eq!(ranges(&found.landed("b")), one(0..10));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), found.replay.length);
}

#[test]
fn a_ledger_that_holds_nothing_is_removed_and_a_strange_one_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let part = tempfile::tempfile_in(dir.path()).unwrap();
    let path = dir.path().join("ledger");
    drop(Ledger::create(&path, &part, head(100), "a".into(), false).unwrap());
    assert!(!path.exists());
    std::os::unix::fs::symlink(dir.path().join("victim"), &path).unwrap();
    assert!(Found::read(&path).is_err());
    assert!(Ledger::create(&path, &part, head(100), "a".into(), false).is_err());
    assert!(!dir.path().join("victim").exists());
}

#[test]
fn lines_that_somebody_else_has_written_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let part = tempfile::tempfile_in(dir.path()).unwrap();
    let path = dir.path().join("ledger");
    let ledger = Ledger::create(&path, &part, head(100), "a".into(), false).unwrap();
    ledger.landed(0..10);
    ledger.flush();
    assert!(ledger.is_ours());
    let other = Found::read(&path).unwrap().unwrap().resume(&part, "a".into(), false).unwrap();
    assert!(!ledger.is_ours() && other.is_ours());
}

#[test]
fn a_sync_that_fails_after_the_ledger_was_closed_is_noted_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let part = tempfile::tempfile_in(dir.path()).unwrap();
    let path = dir.path().join("ledger");
    let ledger = Arc::new(Ledger::create(&path, &part, head(100), "a".into(), false).unwrap());
    ledger.landed(0..10);
    let due = ledger.parting_sync(Instant::now()).unwrap();
    block_on(due.settle(|_| async { Ok(()) })).unwrap();
    ledger.landed(20..30);
    ledger.flush();
    // A disk that is full leaves half a line.
    (&*ledger.file).write_all(b"0123abcd {\"wri").unwrap();
    ledger.lock().closed = Some(Closed::Full);
    assert!(ledger.is_ours() && !ledger.is_lost());
    ledger.lose();
    assert!(ledger.is_lost());
    drop(ledger);
    assert_eq!(ranges(&Found::read(&path).unwrap().unwrap().landed("a")), one(0..10));
}

#[test]
fn a_direct_run_that_goes_on_with_pages_of_another_says_when_it_syncs_them() {
    let dir = tempfile::tempdir().unwrap();
    let part = tempfile::tempfile_in(dir.path()).unwrap();
    let syncing_lines = |cached: bool, epoch: &str| {
        let path = dir.path().join(format!("{cached}-{epoch}"));
        let ledger = Arc::new(Ledger::create(&path, &part, head(100), "a".into(), cached).unwrap());
        ledger.landed(0..10);
        let parting = ledger.parting_sync(Instant::now());
        assert_eq!(parting.is_none(), cached, "nobody may hear how it ends");
        drop((parting, ledger));
        let found = Found::read(&path).unwrap().unwrap();
        let ledger = found.resume(&part, epoch.into(), false).unwrap();
        ledger.sync_begins();
        let text = std::fs::read_to_string(&path).unwrap();
        text.matches("syncing").count()
    };
    assert_eq!(syncing_lines(false, "a"), 0);
    assert_eq!(syncing_lines(true, "a"), 1);
    assert_eq!(syncing_lines(true, "b"), 0, "the pages are gone with the epoch");
}
