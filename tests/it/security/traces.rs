//! What a download leaves or shows while it runs and after it failed: private files, and no secret in any of
//! them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::{CANARY, beside, files_in};
use crate::harness::{PROGRAM, Run};
use crate::origin::{Cut, File, Latch, Origin, Running, assert_file_is};
use crate::ways::backends;

fn file() -> File {
    File::new((3 << 20) + 5)
}

/// An origin that keeps all answers but the first until the latch opens.
fn held(path: &str) -> (Running, Latch) {
    let latch = Latch::default();
    let shut = latch.clone();
    let script = move |request: &crate::origin::Request, reply: crate::origin::Reply| {
        if request.nth == 0 { reply } else { reply.after(&shut) }
    };
    (Origin::new().bent(path, file(), script).start(), latch)
}

/// `ringpull --progress none URL` under a file mode creation mask.
fn masked(umask: &str, url: &str) -> Run {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\""), PROGRAM]);
    Run::by(shell).args(["--progress", "none", "-b", "64k", "-c", "4", url])
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn our_own_files_are_private_and_the_target_is_as_the_mask_says() {
    for (umask, wanted) in [("000", 0o666), ("022", 0o644), ("027", 0o640), ("077", 0o600)] {
        for write in ["auto", "direct", "buffered", "mmap"] {
            let (origin, latch) = held("/f.bin");
            let run = masked(umask, &origin.url("/f.bin")).args(["--write", write]);
            let started = run.start();
            origin.wait_for_requests(2);
            let target = started.path("f.bin");
            assert!(!target.exists());
            assert_eq!(mode(&beside(&target, "part")), 0o600, "umask {umask}");
            for path in files_in(target.parent().unwrap()) {
                assert_eq!(mode(&path), 0o600, "umask {umask}: {}", path.display());
            }
            latch.open();
            let outcome = started.finish();
            outcome.assert_gives("f.bin", &file());
            assert_eq!(mode(&outcome.path("f.bin")), wanted, "umask {umask}");
        }
    }
}

#[test]
fn the_mode_of_a_replaced_file_is_not_taken_over() {
    use std::os::unix::fs::PermissionsExt;
    let origin = Origin::new().file("/f.bin", file()).start();
    for there in [0o600, 0o777, 0o4755] {
        let run = masked("027", &origin.url("/f.bin")).arg("--overwrite").put("f.bin", b"old");
        fs::set_permissions(run.path("f.bin"), fs::Permissions::from_mode(there)).unwrap();
        let outcome = run.finish();
        outcome.assert_gives("f.bin", &file());
        assert_eq!(mode(&outcome.path("f.bin")), 0o640);
    }
}

/// A path whose query is secret, as in signed addresses.
fn signed() -> String {
    format!("/f.bin?signature={CANARY}&x=1")
}

/// Everything secret that a command line can carry.
fn with_secrets(origin: &Running) -> Run {
    let url = origin.url(&signed()).replace("://", &format!("://{CANARY}:{CANARY}@"));
    let run = Run::new(&url).args(["-b", "64k", "-c", "4", "-v"]);
    run.args(["-H", &format!("X-Token: {CANARY}"), "-H", &format!("Cookie: {CANARY}")])
}

/// Neither the name, nor the bytes, nor the extended attributes of any file hold the secret.
fn assert_no_trace(directory: &Path) {
    for path in files_in(directory) {
        let holds =
            |bytes: &[u8]| bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes());
        assert!(!path.to_str().unwrap().contains(CANARY), "{}", path.display());
        assert!(!holds(&fs::read(&path).unwrap()), "{}", path.display());
        let mut names = [0; 4096];
        let length = rustix::fs::llistxattr(&path, &mut names).unwrap_or(0);
        let ours =
            names[..length].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user."));
        assert_eq!(ours.count(), 0, "{}", path.display());
    }
}

#[test]
fn no_secret_is_on_disk_while_a_download_runs_or_after_it() {
    for io in backends() {
        let (origin, latch) = held(&signed());
        let started = with_secrets(&origin).args(["--io", io]).start();
        origin.wait_for_requests(2);
        let directory = started.path("");
        assert!(beside(&started.path("f.bin"), "part").exists());
        assert_no_trace(&directory);
        latch.open();
        let outcome = started.end();
        outcome.assert_code(0);
        assert_no_trace(&directory);
        assert_file_is(&outcome.path("f.bin"), &file());
        assert!(!outcome.stderr.contains(CANARY), "{}", outcome.stderr);
    }
}

#[test]
fn no_secret_is_on_disk_after_a_failure() {
    for (cut, codes) in [(Cut::Reset, [3, 3]), (Cut::Close, [3, 6])] {
        let origin = Origin::new()
            .bent(&signed(), file(), move |request, reply| match request.nth {
                0 => reply,
                _ => reply.cut(100_000, cut),
            })
            .start();
        let outcome = with_secrets(&origin).args(["--retries", "0"]).start().end();
        assert!(codes.contains(&outcome.code.unwrap()), "{}", outcome.stderr);
        assert_no_trace(&outcome.path(""));
        for path in files_in(&outcome.path("")) {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        assert!(!outcome.stderr.contains(CANARY), "{}", outcome.stderr);
    }
}

#[test]
fn an_interrupted_run_leaves_at_most_private_files_without_a_secret() {
    let (origin, latch) = held(&signed());
    let started = with_secrets(&origin).start();
    origin.wait_for_requests(2);
    let directory = started.path("");
    assert_no_trace(&directory);
    started.signal(rustix::process::Signal::TERM);
    let outcome = started.end();
    outcome.assert_code(143);
    latch.open();
    assert_no_trace(&directory);
    for path in files_in(&directory) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn secrets_on_the_command_line_draw_a_warning_that_does_not_repeat_them() {
    let origin = Origin::new().file("/f.bin", file()).start();
    let login = origin.url("/f.bin").replace("://", &format!("://user:{CANARY}@"));
    let field = |name: &str| format!("{name}: {CANARY}");
    for args in [
        vec![login],
        vec![origin.url("/f.bin"), "-u".into(), format!("user:{CANARY}")],
        vec![origin.url("/f.bin"), "-H".into(), field("Authorization")],
        vec![origin.url("/f.bin"), "-H".into(), field("COOKIE")],
        vec![origin.url("/f.bin"), "-H".into(), field("X-Api-Key")],
        vec![origin.url("/f.bin"), "-H".into(), field("Private-Token")],
    ] {
        let run = |verbose: &[&str]| {
            let run =
                Run::bare().args(["--progress", "none", "-b", "64k"]).args(&args).args(verbose);
            let outcome = run.finish_talking();
            outcome.assert_gives("f.bin", &file());
            assert!(!outcome.stderr.contains(CANARY), "{}", outcome.stderr);
            outcome.stderr.matches("process list").count()
        };
        assert_eq!(run(&["-v"]), 1, "{args:?}");
        assert_eq!(run(&[]), 0, "{args:?}");
    }
    let run = Run::new(&origin.url("/f.bin")).args(["-v", "-u", "user"]);
    let outcome = run.env("RINGPULL_PASSWORD", CANARY).finish_talking();
    assert!(!outcome.stderr.contains("process list"), "{}", outcome.stderr);
}
