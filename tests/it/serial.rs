//! Several URLs in one run: all are tried, and the exit code says the worst.

use crate::harness::Run;
use crate::origin::{File, Origin, Reply, assert_file_is};

fn origin() -> Origin {
    Origin::new()
        .file("/a.bin", File::new(300_000).seed(1))
        .file("/b.bin", File::new(5).seed(2))
        .at("/gone.bin", |_| Reply::status("410 Gone"))
        .at("/odd.bin", |_| Reply::raw("not http\r\n\r\n"))
}

#[test]
fn all_urls_are_fetched() {
    let origin = origin().start();
    let outcome = Run::new(&origin.url("/a.bin")).args([origin.url("/b.bin")]).finish();
    outcome.assert_code(0);
    assert_file_is(&outcome.path("a.bin"), &File::new(300_000).seed(1));
    assert_file_is(&outcome.path("b.bin"), &File::new(5).seed(2));
}

#[test]
fn one_failure_is_the_exit_code_and_the_others_are_there() {
    let origin = origin().start();
    for order in [["/a.bin", "/gone.bin", "/b.bin"], ["/gone.bin", "/a.bin", "/b.bin"]] {
        let urls = order.map(|path| origin.url(path));
        let outcome = Run::new(&urls[0]).args(&urls[1..]).finish_talking();
        outcome.assert_code(5);
        assert_file_is(&outcome.path("a.bin"), &File::new(300_000).seed(1));
        assert_file_is(&outcome.path("b.bin"), &File::new(5).seed(2));
        assert!(!outcome.path("gone.bin").exists());
    }
}

#[test]
fn failures_of_different_kinds_are_several() {
    let origin = origin().start();
    let run =
        Run::new(&origin.url("/gone.bin")).args([origin.url("/odd.bin"), origin.url("/b.bin")]);
    let outcome = run.args(["--retries", "0"]).finish_talking();
    outcome.assert_code(9);
    assert_file_is(&outcome.path("b.bin"), &File::new(5).seed(2));
}

#[test]
fn one_output_for_several_urls_is_wrong_usage() {
    let origin = origin().start();
    for output in ["one.bin", "-"] {
        let run = Run::new(&origin.url("/a.bin")).arg(origin.url("/b.bin"));
        run.args(["-o", output]).finish_usage();
    }
    assert_eq!(origin.log().len(), 0);
}

#[test]
fn the_summary_counts() {
    let origin = origin().start();
    let run = Run::new(&origin.url("/a.bin")).args([origin.url("/gone.bin"), origin.url("/b.bin")]);
    let outcome = run.arg("--json").finish_talking();
    let summary = outcome.event("summary");
    assert_eq!(
        (&summary["items"], &summary["done"], &summary["failed"]),
        (&3.into(), &2.into(), &1.into())
    );
    assert_eq!(summary["exit_code"], 5);
}
