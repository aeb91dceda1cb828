//! What the kernel and the file system may refuse: rings, calls, memory, descriptors, threads, space.
//!
//! Each test runs the program where something is refused, by a seccomp filter, a resource limit or a small
//! disk in a mount namespace of its own. Nothing is changed for anyone else. What a test cannot have here it
//! skips, and says so.

mod calls;
mod limits;
mod ring;
mod space;

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
