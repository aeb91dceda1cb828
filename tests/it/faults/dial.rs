//! N9, N10 and N14: addresses that are dead or swallow everything, and a machine that runs out.
//!
//! The order of the addresses and what is remembered of them has its own tests in `wire::addresses`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use socket2::{Domain, Socket, Type};

use crate::ends::SIZE;
use crate::harness::{PROGRAM, Run};
use crate::origin::{Cut, File, Origin, Reply, Running};
use crate::ways::backends;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SIX: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Addresses of the loopback network that no other test binds together.
fn here(n: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, n).into()
}

/// A socket on each address, all with one port, and none listens yet.
fn bind_all(addresses: &[IpAddr]) -> Vec<Socket> {
    let bind = |address: IpAddr, port| {
        let address = SocketAddr::from((address, port));
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&address.into()).ok().map(|()| socket)
    };
    // Somebody else may have the port of the first at another address.
    for _ in 0..100 {
        let first = bind(addresses[0], 0).expect("the loopback interface has this address");
        let port = first.local_addr().unwrap().as_socket().unwrap().port();
        let others: Option<Vec<_>> =
            addresses[1..].iter().map(|address| bind(*address, port)).collect();
        if let Some(others) = others {
            return std::iter::once(first).chain(others).collect();
        }
    }
    panic!("no port is free at all of {addresses:?}");
}

fn listen(socket: Socket) -> TcpListener {
    socket.listen(128).unwrap();
    socket.into()
}

/// A listener whose queue is full: the kernel drops whoever knocks, as a black hole does.
struct Hole {
    listener: TcpListener,
    queued: Mutex<Vec<TcpStream>>,
}

impl Hole {
    fn new(socket: Socket) -> Self {
        socket.listen(0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
            queued.push(stream);
        }
        Self { listener, queued: Mutex::new(queued) }
    }

    /// Lets in whoever knocks from now on.
    fn open(&self) {
        for _ in self.queued.lock().unwrap().drain(..) {
            self.listener.accept().unwrap();
        }
    }

    /// Whether somebody has knocked since.
    fn was_tried(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        self.listener.accept().is_ok()
    }
}

/// `ringpull` for a name that has these addresses.
fn run_at(port: u16, addresses: &str) -> Run {
    let pin = format!("two.test:{port}:{addresses}");
    Run::new(&format!("http://two.test:{port}/f.bin")).args(["--resolve", &pin, "-b", "64k"])
}

fn port(origin: &Running) -> u16 {
    origin.address().port()
}

#[test]
fn n09_a_black_hole_is_passed_by_and_not_tried_again() {
    let file = File::new(SIZE);
    for (dead, addresses) in [(SIX, "[::1],127.0.0.1"), (here(9), "127.0.0.9,127.0.0.1")] {
        for io in backends() {
            for connections in ["1", "8"] {
                let mut sockets = bind_all(&[dead, HERE]);
                let living = listen(sockets.pop().unwrap());
                let hole = std::sync::Arc::new(Hole::new(sockets.pop().unwrap()));
                let theirs = hole.clone();
                let script = move |request: &crate::origin::Request, reply: Reply| {
                    if request.nth == 0 {
                        theirs.open();
                    }
                    // A single connection dials again too.
                    reply.closing().cut(1 << 20, Cut::Close)
                };
                let origin = Origin::new().bent("/f.bin", file, script).start_on(living);
                // The kernel itself would knock again after a second, and give up after minutes.
                let run = run_at(port(&origin), addresses).args(["--io", io, "-c", connections]);
                let outcome = run.args(["--retries", "1", "--connect-timeout", "50"]).finish();
                outcome.assert_gives("f.bin", &file);
                assert!(origin.connections() > 1);
                assert!(!hole.was_tried(), "what worked is tried first");
            }
        }
    }
}

#[test]
fn n09_what_worked_once_is_no_law() {
    let file = File::new(SIZE);
    for io in backends() {
        let mut sockets = bind_all(&[HERE, SIX]);
        let (other, first) = (listen(sockets.pop().unwrap()), listen(sockets.pop().unwrap()));
        let stalling = |_: &_, reply: Reply| reply.cut(200_000, Cut::Stall);
        let first = Origin::new().bent("/f.bin", file, stalling).start_on(first);
        let other = Origin::new().file("/f.bin", file).start_on(other);
        let run = run_at(port(&first), "127.0.0.1,[::1]").args(["--io", io, "--retries", "1"]);
        let started = run.start();
        first.wait_for_requests(1);
        drop(first);
        started.finish().assert_gives("f.bin", &file);
        assert!(!other.log().is_empty());
    }
}

#[test]
fn n10_a_dead_address_among_several_costs_no_attempt() {
    let file = File::new(SIZE);
    for io in backends() {
        for connections in ["1", "8"] {
            // Bound, and nobody listens: the kernel refuses.
            let mut sockets = bind_all(&[here(2), here(3), HERE]);
            let origin = Origin::new().file("/f.bin", file);
            let origin = origin.start_on(listen(sockets.pop().unwrap()));
            let run = run_at(port(&origin), "127.0.0.2,127.0.0.3,127.0.0.1");
            let run = run.args(["--io", io, "-c", connections, "--retries", "0"]);
            run.finish().assert_gives("f.bin", &file);
            drop(sockets);
        }
    }
}

#[test]
fn n10_an_address_that_hangs_up_on_everybody_is_left_for_another() {
    let file = File::new(SIZE);
    for cut in [Cut::Close, Cut::Reset, Cut::Stall] {
        for io in backends() {
            let mut sockets = bind_all(&[here(4), HERE]);
            let origin = Origin::new().file("/f.bin", file);
            let origin = origin.start_on(listen(sockets.pop().unwrap()));
            let deaf = Origin::new().deaf(usize::MAX, cut);
            let deaf = deaf.start_on(listen(sockets.pop().unwrap()));
            let run = run_at(port(&origin), "127.0.0.4,127.0.0.1").args(["--io", io]);
            let run = run.args(["--retries", "1", "--stall-timeout", "1", "-c", "4"]);
            run.finish().assert_gives("f.bin", &file);
            drop(deaf);
        }
    }
}

/// `ringpull` where this file stands in for `/etc/hosts`; `None`, and a word, where that cannot be had.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn run_with_hosts(hosts: &Path) -> Option<Run> {
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let command = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(hosts);
        command
    };
    let tried = command().arg("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mount namespace can be had here");
        return None;
    }
    let mut command = command();
    command.arg(PROGRAM);
    Some(Run::by(command))
}

#[test]
fn n10_a_name_that_moves_on_the_way_is_followed() {
    let file = File::new(SIZE);
    for io in backends() {
        for connections in ["1", "8"] {
            let mut sockets = bind_all(&[here(7), here(8)]);
            let (new, old) = (listen(sockets.pop().unwrap()), listen(sockets.pop().unwrap()));
            let stalling = |_: &_, reply: Reply| reply.cut(40_000, Cut::Stall);
            let old = Origin::new().bent("/f.bin", file, stalling).start_on(old);
            let new = Origin::new().file("/f.bin", file).start_on(new);
            let hosts = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(hosts.path(), "127.0.0.7 moving.test\n").unwrap();
            let Some(run) = run_with_hosts(hosts.path()) else { return };
            let url = format!("http://moving.test:{}/f.bin", port(&old));
            let run = run.args(["--progress", "none", &url, "--io", io, "-c", connections]);
            let started = run.args(["-b", "64k", "--retries", "2"]).start();
            old.wait_for_requests(1);
            std::fs::write(hosts.path(), "127.0.0.8 moving.test\n").unwrap();
            drop(old);
            started.finish().assert_gives("f.bin", &file);
            assert!(!new.log().is_empty());
        }
    }
}

#[test]
fn n10_a_name_whose_addresses_are_all_dead_is_named() {
    let sockets = bind_all(&[here(5), here(6)]);
    let port = sockets[0].local_addr().unwrap().as_socket().unwrap().port();
    let outcome = run_at(port, "127.0.0.5,127.0.0.6").args(["--retries", "0"]).finish();
    outcome.assert_fails(3, &["two.test", &port.to_string(), "refused"]);
}

/// `connect` fails with `errno` for descriptors from `first` on.
fn refuse_connects(first: u64, errno: i32) -> BpfProgram {
    let late = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ge, first);
    let rule = SeccompRule::new(vec![late.unwrap()]).unwrap();
    let refused = SeccompAction::Errno(u32::try_from(errno).unwrap());
    let machine = std::env::consts::ARCH.try_into().unwrap();
    let rules = [(libc::SYS_connect, vec![rule])].into_iter().collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, machine).unwrap();
    filter.try_into().unwrap()
}

#[test]
fn n14_where_no_local_port_is_free_the_connections_that_there_are_go_on() {
    let file = File::new(SIZE);
    for io in backends() {
        let mut ends = Vec::new();
        for first in (8..64).step_by(4) {
            let slow = |_: &_, reply: Reply| reply.dribble(65_536, Duration::from_millis(2));
            let origin = Origin::new().bent("/f.bin", file, slow).start();
            let run = Run::new(&origin.url("/f.bin")).args(["--io", io, "-b", "64k", "-t", "2"]);
            let run = run.args(["-c", "24", "--retries", "1"]);
            let outcome = run.filter(refuse_connects(first, libc::EADDRNOTAVAIL)).finish();
            match outcome.code {
                Some(0) => {
                    outcome.assert_gives("f.bin", &file);
                }
                _ => outcome.assert_fails(3, &["127.0.0.1", "assign requested address", "port"]),
            }
            ends.push((outcome.code, origin.connections()));
        }
        assert_eq!(ends[0].0, Some(3), "no connection at all: {ends:?}");
        assert!(ends.iter().any(|end| end.0 == Some(0) && end.1 < 24), "some: {ends:?}");
        // One connection is enough.
        assert!(ends.iter().all(|end| (end.1 > 0) == (end.0 == Some(0))), "{ends:?}");
    }
}

#[test]
fn n14_where_descriptors_run_out_the_connections_that_there_are_go_on() {
    let file = File::new(SIZE);
    for io in backends() {
        let origin = Origin::new().file("/f.bin", file).start();
        let mut command = Command::new("prlimit");
        command.args(["--nofile=40"]).arg(PROGRAM);
        let run = Run::by(command).args(["--progress", "none", &origin.url("/f.bin")]);
        let run = run.args(["--io", io, "-t", "2", "-c", "64", "-b", "64k", "--retries", "1"]);
        run.finish().assert_gives("f.bin", &file);
    }
}
