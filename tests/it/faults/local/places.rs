//! Targets that are too long, that take nothing, or that are no files at all.

use std::os::unix::fs::FileTypeExt as _;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::disks::Disk;
use super::{file, is_root, origin, refuse_bits};
use crate::harness::{PROGRAM, Run};
use crate::ways::backends;

/// The longest name of a file in bytes.
const NAME_MAX: usize = 255;

#[test]
fn f04_f28_a_disk_that_refuses_halfway_keeps_what_it_has() {
    // Writes from 4 to 8 MiB are refused. No filter sees those of a ring.
    let cases = [
        (libc::EDQUOT, "quota"),
        (libc::EFBIG, "ulimit -f"),
        (libc::EROFS, "read-only"),
        (libc::ESTALE, "stale"),
        (libc::EIO, "error"),
    ];
    for (errno, word) in cases {
        for write in ["auto", "buffered"] {
            let origin = origin();
            let url = origin.url("/f.bin");
            let args = ["--io", "epoll", "--write", write, "-b", "64k", "-c", "4"];
            let refused = refuse_bits(libc::SYS_pwrite64, 3, 4 << 20, errno);
            let first = Run::new(&url).args(args).filter(refused).finish();
            first.assert_fails(7, &["write", "f.bin", word]);
            assert_eq!(first.left_for_later().len(), 2, "{word}");
            let second = first.again(&url).args(args).finish();
            second.assert_gives("f.bin", &file());
            assert!(second.stderr.contains("going on"), "{}", second.stderr);
        }
    }
}

#[test]
fn f27_the_longest_name_is_taken_and_a_longer_one_refused_before_a_request() {
    let origin = origin();
    for io in backends() {
        let longest = "n".repeat(NAME_MAX);
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-o", &longest]);
        run.finish().assert_gives(&longest, &file());
        let requests = origin.log().len();
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-o", &(longest + "n")]);
        run.finish().assert_fails(7, &["too long"]);
        assert_eq!(origin.log().len(), requests);
    }
}

#[test]
fn f28_a_disk_that_is_read_only_is_said() {
    let disk = Disk::new("mount -t tmpfs -o ro ringpull disk", "disk");
    for io in backends() {
        let Some(run) = disk.run() else { return };
        let origin = origin();
        let run = run.args(["--io", io]).arg(origin.url("/f.bin"));
        run.finish().assert_fails(7, &["read-only", "--dir"]);
        assert!(origin.served_bytes() < file().size, "fetched in vain");
    }
}

/// Puts a character device of the kernel's own kind 1 into the working directory, if this user can.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn device(run: &Run, name: &str, minor: u32) -> bool {
    let mode = Mode::RUSR | Mode::WUSR;
    let kind = FileType::CharacterDevice;
    let made = mknodat(CWD, run.path(name), kind, mode, makedev(1, minor));
    let opened = made.map_err(Into::into).and_then(|()| std::fs::File::open(run.path(name)));
    opened.inspect_err(|error| eprintln!("skipped: no devices here: {error}")).is_ok()
}

#[test]
fn f33_a_device_takes_the_bytes_and_stays_a_device() {
    let origin = origin();
    for io in backends() {
        for args in [&["-o", "null"][..], &["-o", "null", "--overwrite"]] {
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io]).args(args);
            if !device(&run, "null", 3) {
                return;
            }
            let null = run.path("null");
            let outcome = run.finish();
            outcome.assert_leaves_nothing();
            assert!(null.symlink_metadata().unwrap().file_type().is_char_device());
        }
    }
}

#[test]
fn f33_a_device_that_is_full_is_said() {
    let origin = origin();
    for io in backends() {
        let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-o", "full"]);
        if !device(&run, "full", 7) {
            return;
        }
        run.finish().assert_fails(7, &["space"]);
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn f33_a_block_device_takes_the_bytes_from_its_beginning() {
    if !is_root() {
        return;
    }
    let script = "truncate -s 16M image && device=$(losetup --find --show image) || exit 77\n\
                  \"$@\" -o $device\ncode=$?\nlosetup --detach $device\nexit $code\n";
    let origin = origin();
    for io in backends() {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", PROGRAM, "--progress", "none"]);
        let outcome = Run::by(command).args(["--io", io, &origin.url("/f.bin")]).start().end();
        if outcome.code == Some(77) {
            eprintln!("skipped: no loop device here: {}", outcome.stderr);
            return;
        }
        outcome.assert_code(0);
        let image = std::fs::File::open(outcome.path("image")).unwrap();
        let written = std::io::Read::take(image, file().size);
        assert_eq!(file().difference(written), None);
    }
}
