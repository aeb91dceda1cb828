//! What the file system, the kernel and the neighbours may do to a download, under the numbers F1 to F34.
//!
//! Each test runs the program where something is refused, by a seccomp filter, a resource limit or a small
//! disk in a mount namespace of its own, or meddles with its files. Nothing is changed for anyone else. What
//! a test cannot have here it skips, and says so.
//!
//! What cannot occur, and what is tested elsewhere:
//! - F7: cannot occur: no entry of a ring is linked to another one.
//! - F8: cannot occur: a ring that may drop completions is refused (`io::uring::probe`), and the blocks of a
//!   pool bound what is in flight.
//! - F15: cannot occur: an operation owns its block until its completion was seen (`io::uring`).
//! - F20, F21: the loops of `crash` kill the program and cut the power at any moment, over and over.
//! - F22, F23: `resume` begins with ledgers and part files that are torn, foreign, copied or rolled back.
//! - F24: cannot occur unnoticed: what close(2) could report, the sync before it has reported. With
//!   `--no-sync` nobody wants to know.
//! - F32: cannot occur: the program changes no user, before or after it makes its rings.

mod calls;
mod disks;
mod limits;
mod meddling;
mod places;
mod process;
mod ring;
mod signals;
mod space;
mod syncs;

use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::harness::{Outcome, PROGRAM, Run};
use crate::origin::{File, Origin, Running};

const MIB: u64 = 1 << 20;

/// Several blocks, so that `--write auto` would go direct; and not a whole number of sectors.
fn file() -> File {
    File::new(9 * MIB + 17)
}

fn origin() -> Running {
    Origin::new().file("/f.bin", file()).start()
}

/// All runs together have fetched the file once, and a little more: for asking anew, and where a machine that
/// does much else makes blocks late.
fn assert_fetched_once(origin: &Running) {
    let served = origin.served_bytes();
    assert!(served < file().size + 4 * MIB, "{served} bytes fetched");
}

/// Every call of this number fails with `errno`.
fn refuse(call: libc::c_long, errno: i32) -> BpfProgram {
    compile(call, Vec::new(), errno)
}

/// Calls of this number fail with `errno` if all bits of `bits` are set in argument `place`.
fn refuse_bits(call: libc::c_long, place: u8, bits: i32, errno: i32) -> BpfProgram {
    let bits = u64::try_from(bits).unwrap();
    let operator = SeccompCmpOp::MaskedEq(bits);
    let condition = SeccompCondition::new(place, SeccompCmpArgLen::Dword, operator, bits);
    compile(call, vec![SeccompRule::new(vec![condition.unwrap()]).unwrap()], errno)
}

fn compile(call: libc::c_long, rules: Vec<SeccompRule>, errno: i32) -> BpfProgram {
    let refused = SeccompAction::Errno(u32::try_from(errno).unwrap());
    let machine = std::env::consts::ARCH.try_into().unwrap();
    let rules = [(call, rules)].into_iter().collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, machine).unwrap();
    filter.try_into().unwrap()
}

/// `ringpull --progress none URL` under these limits of prlimit(1).
fn limited(limits: &[&str], url: &str) -> Run {
    let mut command = Command::new("prlimit");
    command.args(limits).arg(PROGRAM);
    Run::by(command).args(["--progress", "none", url])
}

/// What stderr tells beside the closing line and errors.
fn notes(outcome: &Outcome) -> Vec<&str> {
    let notes = outcome.stderr.lines();
    notes.filter(|line| line.starts_with("ringpull: note: ")).collect()
}

/// Whether this test may act as root; says so if not.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can become another user or mount a disk");
    }
    is_root
}
