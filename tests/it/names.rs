//! Names that a server proposes: taken only when asked for, and never a path.

use crate::harness::Run;
use crate::origin::{File, Origin, Running};

fn file() -> File {
    File::new(5000)
}

fn proposing(disposition: &'static str) -> Running {
    Origin::new()
        .bent("/f.bin", file(), move |_, reply| reply.set("Content-Disposition", disposition))
        .start()
}

#[test]
fn a_proposed_name_is_taken_only_when_asked_for() {
    let origin = proposing("attachment; filename=\"theirs.bin\"");
    Run::new(&origin.url("/f.bin")).finish().assert_gives("f.bin", &file());
    let run = Run::new(&origin.url("/f.bin")).arg("--content-disposition");
    run.finish().assert_gives("theirs.bin", &file());
    let run = Run::new(&origin.url("/f.bin")).args(["--content-disposition", "-o", "mine.bin"]);
    run.finish().assert_gives("mine.bin", &file());
}

#[test]
fn a_proposed_name_in_utf_8_is_understood() {
    let origin = proposing("attachment; filename=\"x\"; filename*=UTF-8''n%C3%A4me.bin");
    let run = Run::new(&origin.url("/f.bin")).arg("--content-disposition");
    run.finish().assert_gives("näme.bin", &file());
}

#[test]
fn a_proposed_path_never_leaves_the_directory() {
    for disposition in [
        "attachment; filename=\"../../escape.bin\"",
        "attachment; filename=\"/tmp/ringpull-escape.bin\"",
        "attachment; filename=\"..\"",
        "attachment; filename=\"\"",
        "attachment; filename*=UTF-8''..%2F..%2Fescape.bin",
        "attachment; filename=\".ringpull-x.part\"",
        "attachment",
        "\u{1}",
    ] {
        let origin = proposing(disposition);
        let outcome = Run::new(&origin.url("/f.bin")).arg("--content-disposition").finish();
        if outcome.code == Some(0) {
            let names: Vec<_> = std::fs::read_dir(outcome.path(".")).unwrap().collect();
            assert_eq!(names.len(), 1, "{disposition}");
            assert!(!outcome.path("../../escape.bin").exists());
            assert!(!outcome.path("../escape.bin").exists());
        }
    }
}

#[test]
fn an_existing_file_is_kept_whatever_the_server_proposes() {
    let origin = proposing("attachment; filename=\"precious\"");
    let run = Run::new(&origin.url("/f.bin")).put("precious", b"mine");
    let outcome = run.arg("--content-disposition").finish();
    outcome.assert_fails(7, &["--overwrite"]);
    assert_eq!(std::fs::read(outcome.path("precious")).unwrap(), b"mine");
}
