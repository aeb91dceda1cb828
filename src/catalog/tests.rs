//! The catalog against a map in memory, and the state against every cut.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use url::Url;

use super::*;

fn entry(path: &str, line: u64) -> Entry {
    let url = Url::parse(&format!("http://h/{line}")).unwrap();
    Entry {
        path: path.into(),
        urls: vec![url],
        size: None,
        checksum: None,
        stretches: None,
        modified: None,
        line,
    }
}

fn stretches(byte: u8) -> std::sync::Arc<crate::digest::Stretches> {
    let digests = vec![byte; 5 * 32];
    let set = crate::digest::Stretches::new(crate::digest::Algo::Sha256, 1 << 20, digests);
    std::sync::Arc::new(set.unwrap())
}

fn build(entries: &[Entry]) -> (tempfile::TempDir, Catalog) {
    let directory = tempfile::tempdir().unwrap();
    let mut builder = Builder::new(directory.path()).unwrap();
    entries.iter().for_each(|entry| builder.push(Found::Entry(entry.clone())).unwrap());
    (directory, builder.finish(&|| Ok(())).unwrap())
}

fn all(catalog: &Catalog) -> Vec<(u64, u64, Entry)> {
    let mut entries = catalog.entries();
    std::iter::from_fn(|| entries.next().unwrap()).collect()
}

fn bad(catalog: &Catalog) -> Vec<BadLine> {
    let mut all = Vec::new();
    catalog
        .bad_lines(&mut |bad| {
            all.push(bad);
            Ok(())
        })
        .unwrap();
    all
}

#[test]
fn entries_come_back_whole_and_in_order() {
    let full = Entry {
        urls: vec![Url::parse("https://a/x?y").unwrap(), Url::parse("http://b/").unwrap()],
        size: Some(u64::MAX),
        checksum: Some("md5=900150983cd24fb0d6963f7d28e17f72".parse().unwrap()),
        stretches: Some(stretches(7)),
        modified: Some(SystemTime::UNIX_EPOCH + Duration::new(7, 8)),
        ..entry("b/ü", 1)
    };
    let (directory, catalog) = build(&[full.clone(), entry("b", 2), entry("a", 3)]);
    let paths: Vec<_> = all(&catalog).into_iter().map(|(_, _, entry)| entry.path).collect();
    // "b/ü" is below a file.
    assert_eq!(paths, ["a", "b"]);
    assert_eq!((catalog.len(), catalog.bad_len()), (2, 1));
    assert!(bad(&catalog)[0].why.contains("line 2"), "{:?}", bad(&catalog));
    let (_other, catalog) = build(std::slice::from_ref(&full));
    let (ordinal, position, got) = all(&catalog).remove(0);
    assert_eq!((ordinal, &got), (0, &full));
    assert_eq!(catalog.read_at(position).unwrap(), full);
    assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none());
}

#[test]
fn of_two_entries_for_one_path_the_first_line_counts() {
    let same = Entry { line: 9, ..entry("x", 1) };
    let (_directory, catalog) = build(&[same, entry("x", 5), entry("x", 1)]);
    assert_eq!(all(&catalog)[0].2, entry("x", 1));
    assert_eq!((catalog.len(), catalog.duplicates(), catalog.bad_len()), (1, 1, 1));
    assert_eq!(bad(&catalog)[0].line, 5);
}

#[test]
fn entries_that_differ_in_their_stretches_alone_are_not_the_same() {
    let with = |byte, line| Entry { line, stretches: Some(stretches(byte)), ..entry("x", 1) };
    let bare = Entry { line: 4, ..entry("x", 1) };
    let (_directory, catalog) = build(&[with(1, 1), with(1, 2), with(2, 3), bare]);
    assert_eq!((catalog.len(), catalog.duplicates(), catalog.bad_len()), (1, 1, 2));
}

proptest! {
    #[test]
    fn the_catalog_is_what_a_map_would_be(
        paths in prop::collection::vec("[ab.]{1,2}(/[ab.]{1,2}){0,2}", 0..60),
    ) {
        let entries: Vec<_> =
            paths.iter().zip(1..).map(|(path, line)| entry(path, line)).collect();
        let (_directory, catalog) = build(&entries);
        let mut wanted = BTreeMap::new();
        for entry in &entries {
            wanted.entry(entry.path.clone()).or_insert(entry.clone());
        }
        let is_below = |path: &str| {
            path.match_indices('/').any(|(end, _)| wanted.contains_key(&path[..end]))
        };
        let wanted: Vec<_> =
            wanted.values().filter(|entry| !is_below(&entry.path)).cloned().collect();
        let got: Vec<_> = all(&catalog).into_iter().map(|(_, _, entry)| entry).collect();
        prop_assert_eq!(got, wanted);
        prop_assert_eq!(catalog.len() + catalog.bad_len(), entries.len() as u64);
    }
}

fn record(path: &str, size: u64) -> Record {
    Record {
        path: path.into(),
        url: "http://h/".into(),
        checksum: None,
        size,
        mtime_ns: -1,
        ino: 3,
        ctime_ns: i64::MIN,
        etag: Some(b"W/\"\xff\"".to_vec()),
        last_modified: Some("today".into()),
        proof: Proof::Length,
    }
}

fn known(state: &State) -> BTreeMap<String, u64> {
    let (_, mut snapshot) = state.begin(|| Ok(())).unwrap();
    std::iter::from_fn(|| snapshot.advance()).map(|record| (record.path, record.size)).collect()
}

#[test]
fn the_last_word_on_a_path_counts_and_what_is_gone_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(directory.path()).unwrap();
    let (mut journal, _) = state.begin(|| Ok(())).unwrap();
    for (path, size) in [("b", 7), ("a", 2), ("b", 3), ("c", 4)] {
        journal.done(&record(path, size)).unwrap();
    }
    drop(journal);
    let (mut journal, mut snapshot) = state.begin(|| Ok(())).unwrap();
    assert_eq!(snapshot.join("a"), Some(record("a", 2)));
    assert_eq!(snapshot.join("aa"), None);
    assert_eq!(snapshot.join("b").map(|record| record.size), Some(3));
    journal.gone("b").unwrap();
    journal.done(&record("ab", 5)).unwrap();
    journal.gone("d").unwrap();
    drop(journal);
    let wanted = [("a", 2), ("ab", 5), ("c", 4)].map(|(path, size)| (path.to_owned(), size));
    assert_eq!(known(&state), BTreeMap::from(wanted));
    assert!(matches!(State::open(directory.path()), Err(error) if error.kind() == Kind::Exists));
}

#[test]
fn a_journal_cut_anywhere_tells_what_stands_before_the_cut() {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(directory.path()).unwrap();
    let (mut journal, _) = state.begin(|| Ok(())).unwrap();
    for size in 0..4 {
        journal.done(&record(&format!("f{size}"), size)).unwrap();
        if size == 1 {
            journal.checkpoint().unwrap();
        }
    }
    drop(journal);
    let path = directory.path().join("journal");
    let whole = std::fs::read(&path).unwrap();
    let mut most = 0;
    for cut in 0..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let _ = std::fs::remove_file(directory.path().join("snapshot"));
        let count = known(&state).len();
        assert!(count >= most && count <= 4, "cut at {cut}");
        most = count;
    }
    assert_eq!(most, 4);
    // In another boot only what stands before the checkpoint counts.
    let mut other = Vec::new();
    snapshot::put_frame(&mut other, b"\x01another boot").unwrap();
    let mut frames = snapshot::Frames(whole.as_slice());
    let begin = frames.next().unwrap();
    other.extend_from_slice(&whole[8 + begin.len()..]);
    std::fs::write(&path, other).unwrap();
    std::fs::remove_file(directory.path().join("snapshot")).unwrap();
    let (_, mut snapshot) = state.begin(|| Ok(())).unwrap();
    let proofs: Vec<_> =
        std::iter::from_fn(|| snapshot.advance()).map(|record| record.proof).collect();
    assert_eq!(proofs, [Proof::Length, Proof::Length, Proof::Lost, Proof::Lost]);
}
