//! What a second run asks and does, and what it believes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::runner::Place;
use super::{bare_table, files, origin_of, sha256, table};
use crate::origin::{File, Origin, Reply, Running, Validator};

#[test]
fn a_second_run_over_entries_with_size_and_digest_asks_nothing() {
    let files = files(30);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 30), ("requests", 30)]);
    let before = place.names();
    place.run(&["list.tsv"]).assert_ends(0, &[("unchanged", 30), ("requests", 0), ("bytes", 0)]);
    assert_eq!(origin.log().len(), 30, "no request in the second run");
    assert_eq!(place.names(), before);
    place.assert_holds(&files);
}

#[test]
fn a_second_run_over_entries_with_size_and_date_asks_nothing() {
    let files = files(9);
    let origin = origin_of(&files).start();
    let place = Place::new();
    let line = |(path, file): &(String, File)| {
        format!("{}\t{path}\t{}\t1500000001\n", origin.url(&format!("/{path}")), file.size)
    };
    let lines: String = files.iter().map(line).collect();
    place.put("list.tsv", format!("url\tpath\tsize\tmtime\n{lines}"));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 9)]);
    place.run(&["list.tsv"]).assert_ends(0, &[("unchanged", 9), ("requests", 0)]);
    assert_eq!(origin.log().len(), 9);
}

/// Runs twice; the conditions of the second run, one an entry, all answered by 304.
fn conditions(validator: Validator, name: &str) -> (Vec<String>, File) {
    let file = File::new(777).seed(4).validator(validator);
    let files: Vec<_> = (0..5).map(|at| (format!("f{at}"), file)).collect();
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 5)]);
    let before = place.names();
    let second = place.run(&["list.tsv"]);
    second.assert_ends(0, &[("unchanged", 5), ("requests", 5), ("bytes", 0)]);
    assert_eq!(place.names(), before, "not written again");
    let log = origin.log().split_off(5);
    assert_eq!(log.len(), 5, "one request an entry");
    let told = log.iter().map(|request| request.header(name).unwrap_or_default().to_owned());
    (told.collect(), file)
}

#[test]
fn a_second_run_asks_with_the_etag_as_it_came() {
    let (told, file) = conditions(Validator::Strong, "if-none-match");
    assert!(told.iter().all(|told| *told == file.etag()), "{told:?}");
}

#[test]
fn a_second_run_asks_with_a_weak_etag_as_it_came() {
    let (told, file) = conditions(Validator::Weak, "if-none-match");
    assert!(told.iter().all(|told| *told == format!("W/{}", file.etag())), "{told:?}");
}

#[test]
fn a_second_run_asks_with_the_date_as_it_came() {
    let (told, file) = conditions(Validator::Date, "if-modified-since");
    let date = httpdate::fmt_http_date(file.modified());
    assert!(told.iter().all(|told| *told == date), "{told:?}");
}

#[test]
fn a_third_run_still_asks_with_what_the_first_heard() {
    let file = File::new(777).validator(Validator::Weak);
    let files = [("a".to_owned(), file)];
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &files));
    for (run, state) in ["fetched", "unchanged", "unchanged", "unchanged"].iter().enumerate() {
        place.run(&["list.tsv"]).assert_ends(0, &[(state, 1), ("requests", 1)]);
        let asked = origin.log()[run].header("if-none-match").map(str::to_owned);
        assert_eq!(asked.is_some(), run > 0);
    }
}

/// Serves files and never says 304.
fn stubborn(files: &[(String, File)]) -> Running {
    let serve = |origin: Origin, (path, file): &(String, File)| {
        let file = *file;
        origin.at(&format!("/{path}"), move |request| {
            Reply::honest(&file, &request.without("if-none-match").without("if-modified-since"))
        })
    };
    files.iter().fold(Origin::new(), serve).start()
}

#[test]
fn a_server_that_never_says_304_costs_a_request_and_changes_nothing() {
    for validator in [Validator::Strong, Validator::Weak, Validator::Date] {
        let files = files(6).into_iter().map(|(path, file)| (path, file.validator(validator)));
        let files: Vec<_> = files.collect();
        let origin = stubborn(&files);
        let place = Place::new();
        place.put("list.tsv", bare_table(&origin, &files));
        place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 6)]);
        let before = place.names();
        let second = place.run(&["list.tsv"]);
        second.assert_ends(0, &[("unchanged", 6), ("fetched", 0), ("requests", 6)]);
        assert_eq!(place.names(), before, "not written again");
    }
}

#[test]
fn a_server_without_validators_is_fetched_again_and_right() {
    let files: Vec<_> =
        files(6).into_iter().map(|(path, file)| (path, file.validator(Validator::None))).collect();
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", bare_table(&origin, &files));
    for _ in 0..2 {
        assert_eq!(place.run(&["list.tsv"]).code, Some(0));
        place.assert_holds(&files);
    }
}

/// A file whose version can be set.
fn changing(file: File) -> (Arc<AtomicU64>, Running) {
    let version = Arc::new(AtomicU64::new(1));
    let now = version.clone();
    let reply = move |request: &crate::origin::Request| {
        Reply::honest(&file.version(now.load(SeqCst)), request)
    };
    (version, Origin::new().at("/a", reply).file("/b", file).start())
}

#[test]
fn a_file_that_has_changed_on_the_server_is_fetched() {
    for validator in [Validator::Strong, Validator::Weak, Validator::Date, Validator::None] {
        let file = File::new(3000).validator(validator);
        let (version, origin) = changing(file);
        let place = Place::new();
        let both = [("a".to_owned(), file), ("b".to_owned(), file)];
        place.put("list.tsv", bare_table(&origin, &both));
        place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 2)]);
        version.store(2, SeqCst);
        assert_eq!(place.run(&["list.tsv"]).code, Some(0));
        let both = [("a".to_owned(), file.version(2)), ("b".to_owned(), file)];
        place.assert_holds(&both);
    }
}

#[test]
fn a_list_with_another_digest_has_the_new_version_fetched() {
    let file = File::new(3000);
    let (version, origin) = changing(file);
    let place = Place::new();
    place.put("list.tsv", table(&origin, &[("a".to_owned(), file)]));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
    version.store(2, SeqCst);
    place.put("list.tsv", table(&origin, &[("a".to_owned(), file.version(2))]));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&[("a".to_owned(), file.version(2))]);
}

/// Changes a byte and gives the file its old date.
fn damage(place: &Place, path: &str) {
    let path = place.tree(path);
    let mut bytes = std::fs::read(&path).unwrap();
    let date = std::fs::metadata(&path).unwrap().modified().unwrap();
    bytes[10] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(date).unwrap();
}

#[test]
fn a_file_that_was_damaged_here_is_repaired_even_with_its_old_size_and_date() {
    let files = files(8);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 8)]);
    damage(&place, &files[3].0);
    let again = place.run(&["list.tsv"]);
    again.assert_ends(0, &[("fetched", 1), ("unchanged", 7), ("requests", 1)]);
    place.assert_holds(&files);
}

#[test]
fn a_file_that_is_cut_short_or_gone_is_fetched_again() {
    let files = files(8);
    for list in [table, bare_table] {
        let origin = origin_of(&files).start();
        let place = Place::new();
        place.put("list.tsv", list(&origin, &files));
        place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 8)]);
        std::fs::File::options()
            .write(true)
            .open(place.tree(&files[3].0))
            .unwrap()
            .set_len(5)
            .unwrap();
        std::fs::remove_file(place.tree(&files[4].0)).unwrap();
        place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 2), ("unchanged", 6)]);
        place.assert_holds(&files);
    }
}

#[test]
fn a_file_that_somebody_else_put_there_is_not_believed() {
    for validator in [Validator::Strong, Validator::Weak, Validator::Date, Validator::None] {
        let file = File::new(3000).validator(validator);
        let files = [("a".to_owned(), file)];
        let origin = origin_of(&files).start();
        let place = Place::new();
        // The right size, and a date after that of the server.
        place.put("tree/a", file.version(7).whole());
        place.put("list.tsv", bare_table(&origin, &files));
        place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
        place.assert_holds(&files);
    }
}

#[test]
fn a_lenient_server_that_calls_an_older_date_unmodified_is_not_believed() {
    let file = File::new(3000).validator(Validator::Date);
    let origin = Origin::new()
        .at("/a", move |request| {
            let reply = Reply::honest(&file, &request.without("if-modified-since"));
            // As the date asked for is after its own.
            if request.header("if-modified-since").is_some() { reply.unmodified() } else { reply }
        })
        .start();
    let place = Place::new();
    place.put("tree/a", file.version(7).whole());
    let files = [("a".to_owned(), file)];
    place.put("list.tsv", bare_table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 1)]);
    place.assert_holds(&files);
}

#[test]
fn right_files_of_unknown_origin_are_read_and_kept_where_there_is_a_digest() {
    let files = files(8);
    let origin = origin_of(&files).start();
    let place = Place::new();
    for (path, file) in &files {
        place.put(&format!("tree/{path}"), file.whole());
    }
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("unchanged", 8), ("requests", 0)]);
    assert_eq!(origin.log().len(), 0);
}

#[test]
fn verifying_all_reads_every_file_and_asks_nothing_where_they_are_right() {
    let files = files(12);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 12)]);
    drop(origin);
    let before = place.names();
    for how in ["all", "sample"] {
        let again = place.run(&["list.tsv", "--verify", how]);
        again.assert_ends(0, &[("unchanged", 12), ("requests", 0)]);
        assert_eq!(place.names(), before);
    }
}

#[test]
fn losing_the_state_costs_reading_and_changes_nothing() {
    let files = files(12);
    let origin = origin_of(&files).start();
    let place = Place::new();
    place.put("list.tsv", table(&origin, &files));
    place.run(&["list.tsv"]).assert_ends(0, &[("fetched", 12)]);
    for name in ["journal", "snapshot"] {
        // Not there, empty, and full of nonsense.
        for content in [None, Some(Vec::new()), Some(vec![0xa5; 5000])] {
            let path = place.tree(".ringpull").join(name);
            match content {
                Some(bytes) => std::fs::write(path, bytes).unwrap(),
                None => drop(std::fs::remove_file(path)),
            }
            let again = place.run(&["list.tsv"]);
            again.assert_ends(0, &[("unchanged", 12), ("requests", 0)]);
            place.assert_holds(&files);
        }
    }
}

#[test]
fn a_moved_directory_asks_nothing_more_than_before() {
    let file = File::new(5);
    let (version, origin) = changing(file);
    version.store(1, SeqCst);
    let place = Place::new();
    let list = format!("{}  a\n", sha256(&file));
    place.put("SHA256SUMS", list);
    let base = origin.url("/");
    let args = ["SHA256SUMS", "--base-url", &base, "--state", "state"];
    place.start(&args).finish().assert_code(0);
    std::fs::rename(place.tree(""), place.path("elsewhere")).unwrap();
    std::fs::rename(place.path("elsewhere"), place.tree("")).unwrap();
    let again = place.start(&args).finish();
    assert_eq!((again.code, again.count("unchanged"), origin.log().len()), (Some(0), 1, 1));
}
