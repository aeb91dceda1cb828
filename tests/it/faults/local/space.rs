//! Disks without room: at once, halfway, and only when the cache is written back.

use super::disks::Disk;
use super::{MIB, refuse};
use crate::harness::Run;
use crate::origin::{File, Origin, Reply, Running};
use crate::ways::backends;

/// A tmpfs of 4 MiB.
const SMALL: Disk = Disk::new("mount -t tmpfs -o size=4m ringpull disk", "disk");
/// An ext4 of 8 MiB.
const SMALL_EXT4: Disk = Disk::new(
    "mount -t tmpfs ringpull disk
    truncate -s 8M disk/image
    mkfs.ext4 -q -O ^has_journal -m 0 disk/image
    mkdir disk/disk
    mount -o loop disk/image disk/disk",
    "disk/disk",
);
/// A file system that believes in 64 MiB where there are 8. Its own tables have their room already.
const HOLLOW: Disk = Disk::new(
    "mount -t tmpfs -o size=8m ringpull disk
    truncate -s 64M disk/image
    mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=1 disk/image
    mkdir disk/disk
    mount -o loop,errors=continue disk/image disk/disk",
    "disk/disk",
);

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

/// A disk that neither allocates nor tells how much room it has: it turns out to be full.
fn secretive(run: Run) -> Run {
    let run = run.filter(refuse(libc::SYS_fallocate, libc::EOPNOTSUPP));
    run.filter(refuse(libc::SYS_fstatfs, libc::ENOSYS))
}

#[test]
fn f01_a_file_that_does_not_fit_is_refused_before_it_is_fetched() {
    for io in backends() {
        for write in ["auto", "buffered", "mmap"] {
            let Some(run) = SMALL.run() else { return };
            let origin = origin();
            let run = run.args(["--io", io, "--write", write, "-b", "64k", "-c", "8"]);
            run.arg(origin.url("/known.bin")).finish().assert_fails(7, &["space", "--dir"]);
            assert_eq!(origin.log().len(), 1, "{:?}", origin.log());
            assert!(origin.served_bytes() < 20 * MIB);
        }
    }
}

#[test]
fn f02_a_file_that_turns_out_not_to_fit_leaves_nothing() {
    for io in backends() {
        for write in ["auto", "buffered"] {
            let Some(run) = SMALL.run() else { return };
            let origin = origin();
            let run = run.args(["--io", io, "--write", write]);
            run.arg(origin.url("/unknown.bin")).finish().assert_fails(7, &["space", "--dir"]);
            assert_eq!(origin.log().len(), 1, "a full disk is no reason to ask again");
        }
    }
}

#[test]
fn f02_a_disk_that_is_full_halfway_is_gone_on_with_when_there_is_room() {
    // The first writes that find no room end short: some of a block is there, and counts for nothing.
    let disk = Disk { mend: "mount -o remount,size=64m disk", ..SMALL };
    for io in backends() {
        let Some(run) = disk.run() else { return };
        let origin = origin();
        let run = secretive(run).args(["--io", io, "--write", "buffered", "-b", "1M", "-c", "4"]);
        let outcome = run.arg(origin.url("/known.bin")).finish();
        outcome.assert_gives("known.bin", &large());
        assert!(outcome.stderr.contains("no space"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("going on"), "{}", outcome.stderr);
    }
}

#[test]
fn f02_a_disk_that_is_full_halfway_ends_a_direct_write_too() {
    for io in backends() {
        for write in ["direct", "buffered"] {
            let Some(run) = SMALL_EXT4.run() else { return };
            let origin = origin();
            let run = secretive(run).args(["--io", io, "--write", write, "-b", "1M", "-c", "4"]);
            let outcome = run.arg(origin.url("/known.bin")).finish();
            outcome.assert_fails(7, &["space", "known.bin"]);
        }
    }
}

#[test]
fn f14_a_disk_in_memory_takes_a_file_in_every_way_it_can() {
    let small = File::new(MIB + 17);
    for io in backends() {
        for write in ["auto", "buffered", "mmap", "direct"] {
            let Some(run) = SMALL.run() else { return };
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
fn f03_a_disk_that_fails_only_when_written_back_fails_the_download() {
    for io in backends() {
        for write in ["auto", "direct", "buffered", "mmap"] {
            let Some(run) = HOLLOW.run() else { return };
            let origin = origin();
            let run = run.args(["--io", io, "--write", write]);
            run.arg(origin.url("/known.bin")).finish().assert_fails(7, &["known.bin"]);
        }
    }
}

#[test]
fn f03_after_a_failed_write_back_the_next_run_puts_the_right_bytes_on_the_disk() {
    // What the cache shows and what the disk has differ after such a failure: the disk is asked.
    let disk = Disk {
        mend: "mount -o remount,size=128m disk",
        settle: "umount disk/disk && mount -o loop disk/image disk/disk",
        ..HOLLOW
    };
    for io in backends() {
        for write in ["buffered", "mmap"] {
            let Some(run) = disk.run() else { return };
            let origin = origin();
            let run = run.args(["--io", io, "--write", write, "-b", "64k", "-c", "4"]);
            run.arg(origin.url("/known.bin")).finish().assert_gives("known.bin", &large());
        }
    }
}
