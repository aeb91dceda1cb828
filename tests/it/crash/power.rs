//! Power cuts: a file system of its own is shut down without a last word at random moments, mounted again,
//! and the same command goes on, until the file is complete. Then the power fails once more, at once.
//!
//! Only root can do this, with loop devices and `xfs_io`; elsewhere the tests say that they are skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use fastrand::Rng;
use tempfile::TempDir;

use super::Left;
use super::left::blocks;
use crate::harness::PROGRAM;
use crate::origin::{File, Origin, Running, assert_file_is};
use crate::ways::backends;

/// Power cuts on each kind of disk in an ordinary run of the tests.
const CUTS: u64 = 5;

/// Runs of one download; the last of them are left alone.
const RUNS_MAX: u32 = 40;

/// Mounts the disk, runs the program, cuts the power at the moment given or after the end, mounts the disk
/// again, and takes what is there.
const CYCLE: &str = r#"
mount -o "loop,$OPTIONS" image disk || exit 99
cd disk || exit 99
"$@" & run=$!
cd ..
if [ "$MOMENT" = end ]; then wait $run; code=$?; else sleep "$MOMENT"; fi
xfs_io -x -F -c shutdown disk || exit 99
if [ "$MOMENT" != end ]; then wait $run; code=$?; fi
umount disk && mount -o "loop,$OPTIONS" image disk || exit 99
rm -rf found && mkdir found && cp -p disk/.ringpull-* disk/f.bin found 2>/dev/null
umount disk
exit $code
"#;

/// A kind of disk: how it is made, and how it is mounted.
#[derive(Clone, Copy, Debug)]
struct Disk {
    make: &'static str,
    options: &'static str,
}

const XFS: Disk = Disk { make: "truncate -s 320M image && mkfs.xfs -q -f image", options: "rw" };
const ORDERED: Disk =
    Disk { make: "truncate -s 128M image && mkfs.ext4 -q -F image", options: "data=ordered" };
const WRITEBACK: Disk = Disk { options: "data=writeback", ..ORDERED };

#[test]
fn power_cuts_on_xfs_cost_only_what_no_sync_covered() {
    survives(XFS);
}

#[test]
fn power_cuts_on_ext4_cost_only_what_no_sync_covered() {
    survives(ORDERED);
}

#[test]
fn power_cuts_on_ext4_with_unordered_data_cost_only_what_no_sync_covered() {
    survives(WRITEBACK);
}

#[expect(clippy::print_stdout, reason = "figures for whoever wants to see them")]
fn survives(disk: Disk) {
    if !is_there(disk) {
        return;
    }
    let cuts = super::number("RINGPULL_POWER_CUTS").unwrap_or(CUTS);
    let mut seed = super::number("RINGPULL_SEED").unwrap_or(0);
    let mut tally = Tally::default();
    while tally.cuts < cuts || tally.used_bytes == 0 {
        let _told = super::Told { seed, what: "RINGPULL_POWER_CUTS=1" };
        Loop::new(disk, seed, &mut tally).run();
        seed += 1;
        assert!(tally.downloads < cuts + 100, "no sync ever told what is durable: {tally:?}");
    }
    println!("{disk:?}: {tally:?}");
}

/// What the loop has seen, in the end.
#[derive(Debug, Default)]
struct Tally {
    downloads: u64,
    cuts: u64,
    complete: u64,
    /// Bytes that a power cut has left and a later run has used.
    used_bytes: u64,
    /// Bytes that were in a line and lost.
    lost_bytes: u64,
}

/// Whether such a disk can be had here; says why not.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn is_there(disk: Disk) -> bool {
    let place = make(disk);
    let trouble =
        match place.as_ref().map(|place| cycle(place.path(), disk, "end", &["true".into()])) {
            Ok(output) if output.status.success() => return true,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(trouble) => trouble.clone(),
        };
    eprintln!("skipped: no power cuts here: {trouble}");
    false
}

/// A directory with a fresh disk in it, not mounted.
fn make(disk: Disk) -> Result<TempDir, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root can mount".into());
    }
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::create_dir(place.path().join("disk")).unwrap();
    let made = Command::new("sh").args(["-c", disk.make]).current_dir(&place).output().unwrap();
    match made.status.success() {
        true => Ok(place),
        false => Err(String::from_utf8_lossy(&made.stderr).trim().to_owned()),
    }
}

/// One mount, one run, one power cut. The mounts are private to the shell and end with it.
fn cycle(place: &Path, disk: Disk, moment: &str, program: &[String]) -> Output {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", CYCLE, "sh"]).args(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("OPTIONS", disk.options).env("MOMENT", moment).env("HOME", place);
    command.env("RINGPULL_LINE_BYTES", "131072").env("RINGPULL_SYNC_BYTES", "1000000");
    command.current_dir(place).stdin(Stdio::null()).output().unwrap()
}

/// One download, from its first run to the file.
struct Loop<'a> {
    rng: Rng,
    disk: Disk,
    place: TempDir,
    file: File,
    origin: Running,
    tally: &'a mut Tally,
}

impl<'a> Loop<'a> {
    fn new(disk: Disk, seed: u64, tally: &'a mut Tally) -> Self {
        let mut rng = Rng::with_seed(seed);
        let file = File::new(rng.u64(4 << 20..12 << 20)).seed(seed);
        let dribble =
            |reply: crate::origin::Reply| reply.dribble(64 << 10, Duration::from_millis(2));
        let origin = Origin::new().bent("/f.bin", file, move |_, reply| dribble(reply)).start();
        tally.downloads += 1;
        Self { rng, disk, place: make(disk).unwrap(), file, origin, tally }
    }

    fn run(mut self) {
        for count in 0..RUNS_MAX {
            let moment = match count {
                0..5 => format!("{:.3}", self.rng.f64() * 0.4),
                _ => "end".into(),
            };
            let durable = self.left().map(|left| left.durable());
            let requests = self.origin.log().len();
            let (program, block_size) = self.program();
            let output = cycle(self.place.path(), self.disk, &moment, &program);
            let said = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code();
            // A page of a mapped file that the disk does not give any more is a SIGBUS (mmap(2)).
            let is_mapped = program.iter().any(|arg| arg == "mmap");
            let is_known = matches!(code, Some(0 | 7)) || (is_mapped && code == Some(135));
            assert!(is_known, "{code:?} on {:?}: {said}", self.disk);
            self.tally.cuts += 1;
            self.check_requests(requests, durable.as_deref(), block_size, &said);
            if self.check_found(code == Some(0)) {
                self.tally.complete += 1;
                return;
            }
        }
        panic!("no end after {RUNS_MAX} runs");
    }

    /// The command, and its size of blocks in bytes.
    fn program(&mut self) -> (Vec<String>, u64) {
        let rng = &mut self.rng;
        let one = |rng: &mut Rng, of: &[&'static str]| of[rng.usize(..of.len())];
        let block_size = *rng.choice(&[64, 256, 1024]).unwrap();
        let block_text = format!("{block_size}k");
        let url = self.origin.url("/f.bin");
        let args = [PROGRAM, "--progress", "none", &url, "-b", &block_text, "--retries", "0"];
        let mut program: Vec<_> = args.into_iter().map(ToOwned::to_owned).collect();
        program.extend(["--io", one(rng, backends())].map(ToOwned::to_owned));
        program
            .extend(["--write", one(rng, &["direct", "buffered", "mmap"])].map(ToOwned::to_owned));
        program.extend(["-c", one(rng, &["1", "4"])].map(ToOwned::to_owned));
        (program, block_size << 10)
    }

    /// What the last power cut has left of the download.
    fn left(&self) -> Option<Left> {
        let entries = fs::read_dir(self.place.path().join("found")).ok()?;
        let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        let one = |end| paths.iter().find(|path| path.extension().is_some_and(|ext| ext == end));
        Left::at(one("part")?.clone(), one("ledger")?.clone())
    }

    /// Whatever has the name is right, and whatever is called durable is there. Returns whether it is over.
    fn check_found(&mut self, is_done: bool) -> bool {
        let target = self.place.path().join("found/f.bin");
        if target.exists() || is_done {
            assert_file_is(&target, &self.file);
        } else if let Some(left) = self.left() {
            left.check_durable(&self.file);
            let count = |bytes: Vec<bool>| bytes.into_iter().filter(|is| *is).count() as u64;
            self.tally.lost_bytes += count(left.landed()) - count(left.durable());
        }
        is_done
    }

    /// No request asks for a block that is durable.
    fn check_requests(
        &mut self,
        from: usize,
        durable: Option<&[bool]>,
        block_size: u64,
        said: &str,
    ) {
        // The power may have failed before it was read.
        if said.contains("its ledger cannot be read: input/output error") {
            return;
        }
        let Some(durable) = durable else { return };
        let there: Vec<_> = blocks(self.file.size, block_size)
            .filter(|block| durable[block.clone()].iter().all(|durable| *durable))
            .collect();
        let is_all = durable.iter().all(|durable| *durable);
        let asked: Vec<_> =
            self.origin.log()[from..].iter().filter_map(|request| request.range.clone()).collect();
        for range in &asked {
            let first = usize::try_from(range.start).unwrap();
            let again = there.iter().find(|block| block.contains(&first));
            assert!(is_all || again.is_none(), "{range:?} is there: {again:?}: {said}");
        }
        if !asked.is_empty() {
            self.tally.used_bytes += there.iter().map(|block| block.len() as u64).sum::<u64>();
        }
    }
}
