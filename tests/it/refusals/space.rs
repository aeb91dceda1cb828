//! Disks without room: at once, halfway, and only when the cache is written back.

use std::fs;
use std::io;
use std::process::{Command, Output};

use super::{MIB, is_root};
use crate::harness::{PROGRAM, Run};
use crate::origin::{File, Origin, Reply, Running};
use crate::ways::backends;

/// A tmpfs of 4 MiB.
const SMALL: &str = "mount -t tmpfs -o size=4m ringpull disk";
/// A file system that believes in 64 MiB where there are 8.
const HOLLOW: &str = "mount -t tmpfs -o size=8m ringpull disk
    truncate -s 64M disk/image
    mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=1 disk/image
    mkdir disk/disk
    mount -o loop,errors=continue disk/image disk/disk";

/// Bytes that do not fit.
fn large() -> File {
    File::new(20 * MIB)
}

fn origin() -> Running {
    Origin::new()
        .file("/known.bin", large())
        .file("/small.bin", File::new(MIB + 17))
        .at("/unknown.bin", |_| Reply::whole(&large()).chunked(&[9999]))
        .start()
}

/// The program with its target in `directory` of a disk that is mounted in a namespace of its own and ends
/// with it. What a failed run leaves there is told on stderr, where one line too many fails the test.
/// `None` where this cannot be had.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn on(disk: &str, directory: &str) -> Option<Run> {
    if !is_root() {
        return None;
    }
    let mount = format!("set -e\n{disk}\nset +e\n\"$@\"\ncode=$?\n");
    let left = format!(
        "ls -A {directory} | grep -vE '^(lost.found|[.]ringpull-.*)$' | sed 's/^/left: /' >&2\n"
    );
    let (take, exit) = (format!("mv {directory}/*.bin . 2>/dev/null\n"), "exit $code\n");
    let shell = |script: String| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
        command
    };
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::create_dir(place.path().join("disk")).unwrap();
    let trial = shell(mount.clone() + exit).arg("true").current_dir(&place).output();
    if let Some(trouble) = trouble(trial) {
        eprintln!("skipped: no such disk here: {trouble}");
        return None;
    }
    let run = Run::by(shell(mount + &take + &left + exit));
    fs::create_dir(run.path("disk")).unwrap();
    Some(run.arg(PROGRAM).args(["--progress", "none", "-d", directory]))
}

/// What kept a command from ending well.
fn trouble(ended: io::Result<Output>) -> Option<String> {
    match ended {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn a_file_that_does_not_fit_is_refused_before_it_is_fetched() {
    for io in backends() {
        for write in ["auto", "buffered", "mmap"] {
            let Some(run) = on(SMALL, "disk") else { return };
            let origin = origin();
            let run = run.args(["--io", io, "--write", write, "-b", "64k", "-c", "8"]);
            run.arg(origin.url("/known.bin")).finish().assert_fails(7, &["space", "--dir"]);
            assert_eq!(origin.log().len(), 1, "{:?}", origin.log());
            assert!(origin.served_bytes() < 20 * MIB);
        }
    }
}

#[test]
fn a_file_that_turns_out_not_to_fit_leaves_nothing() {
    for io in backends() {
        for write in ["auto", "buffered"] {
            let Some(run) = on(SMALL, "disk") else { return };
            let origin = origin();
            let run = run.args(["--io", io, "--write", write]);
            run.arg(origin.url("/unknown.bin")).finish().assert_fails(7, &["space", "--dir"]);
            assert_eq!(origin.log().len(), 1, "a full disk is no reason to ask again");
        }
    }
}

#[test]
fn a_disk_in_memory_takes_a_file_in_every_way_it_can() {
    let small = File::new(MIB + 17);
    for io in backends() {
        for write in ["auto", "buffered", "mmap", "direct"] {
            let Some(run) = on(SMALL, "disk") else { return };
            let origin = origin();
            let run = run.args(["--io", io, "--write", write, "-b", "64k"]);
            let outcome = run.arg(origin.url("/small.bin")).finish();
            match outcome.code {
                // tmpfs takes O_DIRECT on some kernels, but does not say how it must be aligned.
                Some(7) if write == "direct" => outcome.assert_fails(7, &["O_DIRECT", "--write"]),
                _ => drop(outcome.assert_gives("small.bin", &small)),
            }
        }
    }
}

#[test]
fn a_disk_that_fails_only_when_written_back_fails_the_download() {
    for io in backends() {
        for write in ["auto", "direct", "buffered", "mmap"] {
            let Some(run) = on(HOLLOW, "disk/disk") else { return };
            let origin = origin();
            let run = run.args(["--io", io, "--write", write]);
            run.arg(origin.url("/known.bin")).finish().assert_fails(7, &["known.bin"]);
        }
    }
}
