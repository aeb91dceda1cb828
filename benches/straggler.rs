//! What one half-dead connection among eight costs: whole downloads from a server that limits each
//! connection, with all of them healthy and with one that brings a hundredth.
//!
//! `cargo bench --bench straggler` takes a few minutes and prints the medians of interleaved rounds: the
//! promise is a ratio of at most 1.10. As a test each case runs once with a small file, and nothing is
//! measured.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use ringpull::{Connections, IoChoice, Options, Outcome, Target, Write};

/// Bytes per second of a healthy connection.
const RATE: u64 = 4 << 20;
/// How much slower the ill one is.
const ILL: u64 = 100;
/// The connection that is ill, of those since the server began.
const ILL_NUMBER: usize = 4;
const CONNECTIONS: u16 = 8;

fn main() {
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let (size, rounds) = if is_bench { (320 << 20, 5) } else { (4 << 20, 1) };
    let dir = tempfile::tempdir().expect("a scratch directory");
    for (io, name) in [(IoChoice::Auto, "auto"), (IoChoice::Epoll, "epoll")] {
        let (mut ratios, mut extra) = (Vec::new(), (0, 0));
        for _ in 0..rounds {
            let healthy = fetch(dir.path(), size, io, None);
            let ill = fetch(dir.path(), size, io, Some(ILL_NUMBER));
            extra.0 = extra.0.max(healthy.fetched_bytes - healthy.bytes);
            extra.1 = extra.1.max(ill.fetched_bytes - ill.bytes);
            ratios.push(ill.time.as_secs_f64() / healthy.time.as_secs_f64());
            let times = (healthy.time.as_secs_f64(), ill.time.as_secs_f64());
            let io = healthy.io;
            report(&format!("{io}: healthy {:.2} s, one ill {:.2} s", times.0, times.1));
        }
        ratios.sort_by(f64::total_cmp);
        let (first, last) = (ratios[0], ratios[ratios.len() - 1]);
        let median = ratios[ratios.len() / 2];
        report(&format!(
            "{name}: x{median:.3} ({first:.3} to {last:.3}); bytes fetched in vain: \
             healthy {}, one ill {}",
            extra.0, extra.1
        ));
    }
}

fn report(line: &str) {
    // Nobody may read it any more.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn fetch(dir: &Path, size: u64, io: IoChoice, ill: Option<usize>) -> Outcome {
    let address = serve(size, ill);
    let mut options = Options::default();
    options.connections = Connections::exactly(CONNECTIONS);
    (options.write, options.io, options.overwrite) = (Write::Buffered, io, true);
    options.sync = false;
    let url = format!("http://{address}/f").parse().expect("a well-formed URL");
    let download = ringpull::engine::start(url, Target::File(dir.join("copy")), &options);
    download.wait_blocking().expect("a download that ends well")
}

/// Serves `size` bytes for as long as the process lives.
fn serve(size: u64, ill: Option<usize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let address = listener.local_addr().expect("a bound port");
    let count = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let number = count.fetch_add(1, SeqCst);
            let rate = if ill == Some(number) { RATE / ILL } else { RATE };
            // It ends with its connection.
            thread::spawn(move || converse(&socket, size, rate));
        }
    });
    address
}

/// Answers ranges until the client goes away, and never faster than `rate`.
fn converse(socket: &TcpStream, size: u64, rate: u64) -> Option<()> {
    let mut lines = BufReader::new(socket).lines();
    let mut out = socket;
    let bytes = vec![7; 32 << 10];
    loop {
        let (mut start, mut end) = (0, size);
        loop {
            let line = lines.next()?.ok()?.to_ascii_lowercase();
            if let Some((first, last)) =
                line.strip_prefix("range: bytes=").and_then(|range| range.split_once('-'))
            {
                start = first.parse().ok()?;
                end = last.parse().map_or(size, |last: u64| size.min(last + 1));
            }
            if line.is_empty() {
                break;
            }
        }
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nETag: \"v\"\r\nContent-Length: {}\r\n\
             Content-Range: bytes {start}-{}/{size}\r\n\r\n",
            end - start,
            end - 1
        );
        out.write_all(head.as_bytes()).ok()?;
        let begun = Instant::now();
        let mut sent = 0;
        while sent < end - start {
            let count = (end - start - sent).min(rate / 100).min(32 << 10);
            out.write_all(&bytes[..usize::try_from(count).ok()?]).ok()?;
            sent += count;
            let due = begun + Duration::from_micros(sent * 1_000_000 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}
