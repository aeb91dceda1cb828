//! What somebody has put where we write: links, FIFOs, directories, sockets, devices.
//!
//! Whatever is planted, its victim keeps bytes and mode, and the run ends: with the right file under the
//! target's name, or with exit code 7 and one line. Nothing waits for a FIFO that nobody reads.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::{beside, files_in};
use crate::harness::{Outcome, Run};
use crate::origin::{File, Origin, Running, assert_file_is};
use crate::ways::backends;

/// What can be planted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    LinkToFile,
    LinkToDirectory,
    LinkToNothing,
    LinkToItself,
    LinkToFifo,
    HardLink,
    Fifo,
    Socket,
    EmptyDirectory,
    FullDirectory,
    ReadOnlyFile,
    Device,
}

pub(super) const KINDS: [Kind; 12] = [
    Kind::LinkToFile,
    Kind::LinkToDirectory,
    Kind::LinkToNothing,
    Kind::LinkToItself,
    Kind::LinkToFifo,
    Kind::HardLink,
    Kind::Fifo,
    Kind::Socket,
    Kind::EmptyDirectory,
    Kind::FullDirectory,
    Kind::ReadOnlyFile,
    Kind::Device,
];

const PRECIOUS: &[u8] = b"precious, and longer than a few bytes";

/// Who must not suffer: a file, a directory and a FIFO outside of the directory that is written to.
pub(super) struct Victims {
    root: PathBuf,
}

impl Victims {
    pub(super) fn beside(run: &Run) -> Self {
        let root = run.path("../victims");
        fs::create_dir_all(root.join("directory")).unwrap();
        fs::write(root.join("file"), PRECIOUS).unwrap();
        fs::set_permissions(root.join("file"), Permissions::from_mode(0o640)).unwrap();
        fs::write(root.join("directory/inside"), PRECIOUS).unwrap();
        fifo(&root.join("fifo"));
        Self { root }
    }

    /// Puts something at `path`; false where this machine or this user cannot.
    pub(super) fn plant(&self, kind: Kind, path: &Path) -> bool {
        match kind {
            Kind::LinkToFile => symlink(self.root.join("file"), path).unwrap(),
            Kind::LinkToDirectory => symlink(self.root.join("directory"), path).unwrap(),
            Kind::LinkToNothing => symlink(self.root.join("nothing"), path).unwrap(),
            Kind::LinkToItself => symlink(path, path).unwrap(),
            Kind::LinkToFifo => symlink(self.root.join("fifo"), path).unwrap(),
            Kind::HardLink => fs::hard_link(self.root.join("file"), path).unwrap(),
            Kind::Fifo => fifo(path),
            Kind::Socket => return bind(path),
            Kind::EmptyDirectory => fs::create_dir(path).unwrap(),
            Kind::FullDirectory => {
                fs::create_dir(path).unwrap();
                fs::write(path.join("inside"), PRECIOUS).unwrap();
            }
            Kind::ReadOnlyFile => {
                fs::write(path, PRECIOUS).unwrap();
                fs::set_permissions(path, Permissions::from_mode(0o400)).unwrap();
            }
            // As /dev/null, so that nothing is lost whoever writes to it.
            Kind::Device => {
                let mode = Mode::RUSR | Mode::WUSR;
                return mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(1, 3)).is_ok();
            }
        }
        true
    }

    /// Bytes, modes and kinds are as they were, and nothing has joined them.
    pub(super) fn assert_unharmed(&self) {
        let file = fs::metadata(self.root.join("file")).unwrap();
        assert_eq!(fs::read(self.root.join("file")).unwrap(), PRECIOUS);
        assert_eq!(file.mode() & 0o7777, 0o640);
        assert!(file.nlink() <= 2);
        assert_eq!(files_in(&self.root).len(), 3, "{:?}", files_in(&self.root));
        assert_eq!(files_in(&self.root.join("directory")).len(), 1);
        assert_eq!(fs::read(self.root.join("directory/inside")).unwrap(), PRECIOUS);
        assert!(fs::metadata(self.root.join("fifo")).unwrap().file_type().is_fifo());
    }
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Binds a socket; its address is short, so it is bound by a name relative to a descriptor.
fn bind(path: &Path) -> bool {
    use std::os::fd::AsRawFd;
    let directory = fs::File::open(path.parent().unwrap()).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let short = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    UnixListener::bind(short).is_ok()
}

pub(super) fn file() -> File {
    File::new((1 << 20) + 5)
}

pub(super) fn origin() -> Running {
    Origin::new().file("/f.bin", file()).start()
}

/// One run beside its victims: either all is well, or one line says what is in the way.
pub(super) fn judge(outcome: &Outcome, victims: &Victims, about: &str) {
    victims.assert_unharmed();
    match outcome.code {
        Some(0) => {
            let target = outcome.path("f.bin");
            let meta = fs::symlink_metadata(&target).unwrap();
            assert!(meta.is_file() && meta.nlink() == 1, "{about}");
            assert_file_is(&target, &file());
        }
        Some(7) => {
            let problem = outcome.stderr.lines().filter(|line| !line.contains(": note: "));
            assert_eq!(problem.count(), 1, "{about}: {}", outcome.stderr);
        }
        code => panic!("{about}: exit code {code:?}: {}", outcome.stderr),
    }
    assert!(!outcome.stderr.contains("panicked"), "{about}: {}", outcome.stderr);
}

/// Plants everything at a place that depends on the target, with every backend.
pub(super) fn plant_everything(kinds: &[Kind], args: &[&str], place: impl Fn(&Path) -> PathBuf) {
    let origin = origin();
    for (kind, io) in kinds.iter().flat_map(|kind| backends().iter().map(move |io| (*kind, io))) {
        let run = Run::new(&origin.url("/f.bin")).args(args);
        let victims = Victims::beside(&run);
        if !victims.plant(kind, &place(&run.path("f.bin"))) {
            continue;
        }
        let outcome = run.args(["--io", io, "-b", "64k", "--retries", "0"]).start().end();
        judge(&outcome, &victims, &format!("{kind:?} {args:?} {io}"));
    }
}

#[test]
fn nothing_planted_at_the_part_is_followed_written_to_or_waited_for() {
    plant_everything(&KINDS, &[], |target| beside(target, "part"));
    plant_everything(&KINDS, &["--overwrite", "--no-sync"], |target| beside(target, "part"));
}

#[test]
fn nothing_planted_at_the_ledger_is_followed_written_to_or_waited_for() {
    plant_everything(&KINDS, &[], |target| beside(target, "ledger"));
    plant_everything(&KINDS, &["--overwrite", "--no-sync"], |target| beside(target, "ledger"));
}

#[test]
fn a_part_and_a_ledger_planted_together_are_not_believed() {
    let origin = origin();
    for kind in [Kind::LinkToFile, Kind::HardLink, Kind::LinkToNothing, Kind::ReadOnlyFile] {
        let run = Run::new(&origin.url("/f.bin"));
        let victims = Victims::beside(&run);
        for suffix in ["part", "ledger"] {
            assert!(victims.plant(kind, &beside(&run.path("f.bin"), suffix)));
        }
        let outcome = run.args(["-b", "64k", "--retries", "0"]).start().end();
        judge(&outcome, &victims, &format!("{kind:?} twice"));
    }
}

/// Kinds that take bytes in order where a user names them with `-o`.
fn is_stream(kind: Kind) -> bool {
    matches!(kind, Kind::Fifo | Kind::LinkToFifo | Kind::Device | Kind::Socket)
}

#[test]
fn nothing_planted_at_the_target_is_followed_or_written_to() {
    for args in [&[][..], &["--no-sync"], &["--overwrite"], &["-d", "."]] {
        plant_everything(&KINDS, args, Path::to_owned);
    }
    let mut kinds = KINDS.to_vec();
    kinds.retain(|kind| !is_stream(*kind));
    for args in [&["-o", "f.bin"][..], &["-o", "f.bin", "--overwrite"]] {
        plant_everything(&kinds, args, Path::to_owned);
    }
}

#[test]
fn nothing_planted_at_a_name_that_the_server_chose_is_followed_or_waited_for() {
    let origin = Origin::new()
        .bent("/x.bin", file(), |_, reply| {
            reply.set("Content-Disposition", "attachment; filename=\"f.bin\"")
        })
        .start();
    let digest = format!("blake3={}", blake3::hash(&file().whole()));
    for (kind, args) in KINDS.into_iter().flat_map(|kind| {
        [&[][..], &["--checksum", &digest], &["--overwrite"]].map(|args| (kind, args.to_vec()))
    }) {
        let run = Run::new(&origin.url("/x.bin")).arg("--content-disposition").args(&args);
        let victims = Victims::beside(&run);
        let target = run.path("f.bin");
        let planted = victims.plant(kind, &target);
        let outcome = run.args(["-b", "64k", "--retries", "0"]).start().end();
        judge(&outcome, &victims, &format!("{kind:?} {args:?}"));
        if planted && !args.contains(&"--overwrite") {
            outcome.assert_code(7);
        }
    }
}

#[test]
fn without_overwrite_what_stands_at_the_target_stays() {
    let origin = origin();
    for kind in KINDS {
        let run = Run::new(&origin.url("/f.bin"));
        let victims = Victims::beside(&run);
        let target = run.path("f.bin");
        if !victims.plant(kind, &target) {
            continue;
        }
        let before = fs::symlink_metadata(&target).unwrap();
        let outcome = run.args(["--retries", "0"]).finish();
        outcome.assert_fails(7, &["f.bin"]);
        let after = fs::symlink_metadata(&target).unwrap();
        let shape = |meta: &fs::Metadata| (meta.ino(), meta.mode(), meta.nlink(), meta.len());
        assert_eq!(shape(&before), shape(&after), "{kind:?}");
        victims.assert_unharmed();
    }
}

#[test]
fn overwrite_replaces_a_link_and_not_what_it_leads_to() {
    let origin = origin();
    for kind in [Kind::LinkToFile, Kind::LinkToNothing, Kind::HardLink, Kind::ReadOnlyFile] {
        let run = Run::new(&origin.url("/f.bin")).arg("--overwrite");
        let victims = Victims::beside(&run);
        assert!(victims.plant(kind, &run.path("f.bin")));
        let outcome = run.args(["--retries", "0"]).finish();
        outcome.assert_code(0);
        judge(&outcome, &victims, &format!("{kind:?}"));
    }
}
