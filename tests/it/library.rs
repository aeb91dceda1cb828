//! The crate as a caller sees it: chunks, sizes, shared clients, and what becomes of errors and drops.

use std::task::{Context, Poll, Waker};

use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderName, HeaderValue};
use ringpull::{Chunk, Client, Connections, Downloader, Kind, Options};

use crate::origin::{Cut, File, Latch, Origin, Reply, Running};

const SIZE: u64 = 5_000_017;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A downloader with small blocks, so that a small file has many.
fn downloader(origin: &Running, connections: u16) -> Downloader {
    let builder = Downloader::builder(origin.url("/f"));
    builder.connections(connections).block_size(64 << 10).build().unwrap()
}

/// Puts chunks together and insists that every byte came exactly once.
fn assemble(mut chunks: Vec<Chunk>) -> Vec<u8> {
    chunks.sort_by_key(|chunk| chunk.offset);
    let mut bytes = Vec::new();
    for chunk in chunks {
        assert_eq!(chunk.offset, bytes.len() as u64, "a gap or a byte twice");
        bytes.extend_from_slice(&chunk.bytes);
        assert_eq!(chunk.end(), bytes.len() as u64);
    }
    bytes
}

#[test]
fn the_whole_file_arrives_exactly_once() {
    for size in [0, 1, 4095, 65_536, 65_537, SIZE] {
        for connections in [1, 10] {
            let file = File::new(size);
            let origin = Origin::new().file("/f", file).start();
            let chunks = run(downloader(&origin, connections).start().try_collect()).unwrap();
            assert!(assemble(chunks) == file.whole(), "{size} bytes over {connections}");
        }
    }
}

#[test]
fn chunks_that_are_kept_starve_nobody() {
    let file = File::new(40 << 20);
    let origin = Origin::new().file("/f", file).start();
    let downloader = Downloader::builder(origin.url("/f")).connections(2).build().unwrap();
    let chunks: Vec<Chunk> = run(downloader.start().try_collect()).unwrap();
    assert_eq!(chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>(), 40 << 20);
}

#[test]
fn the_size_is_told_and_an_unknown_one_is_none() {
    let file = File::new(SIZE);
    let origin = Origin::new().file("/f", file);
    let origin = origin.at("/u", move |_| Reply::whole(&file).until_close()).start();
    assert_eq!(run(downloader(&origin, 2).size()).unwrap(), Some(SIZE));
    let unknown = Downloader::builder(origin.url("/u")).build().unwrap();
    assert_eq!(run(unknown.size()).unwrap(), None);
    let chunks = run(unknown.start().try_collect()).unwrap();
    assert!(assemble(chunks) == file.whole());
}

#[test]
fn a_failure_is_the_last_item_of_the_stream() {
    let origin = Origin::new().at("/f", |_| Reply::status("404 Not Found")).start();
    run(async {
        let mut chunks = downloader(&origin, 4).start();
        let error = chunks.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(chunks.next().await.is_none());
        assert_eq!(downloader(&origin, 4).size().await.unwrap_err().kind(), Kind::Refused);
    });
}

#[test]
fn a_wrong_digest_ends_the_call_and_leaves_nothing() {
    let origin = Origin::new().file("/f", File::new(1000)).start();
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.checksum = Some(format!("md5={}", "0".repeat(32)).parse().unwrap());
    let target = dir.path().join("f");
    let error = run(ringpull::download(origin.url("/f"), &target, &options)).unwrap_err();
    assert_eq!(error.kind(), Kind::Digest);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    options.checksum = None;
    options.connections = Connections::exactly(3);
    let outcome = run(ringpull::download(origin.url("/f"), &target, &options)).unwrap();
    assert_eq!((outcome.bytes, outcome.durable), (1000, true));
    assert_eq!(std::fs::read(&target).unwrap(), File::new(1000).whole());
}

#[test]
fn dropping_the_stream_stops_the_lanes() {
    let hold = Latch::default();
    let held = hold.clone();
    let file = File::new(64 << 20);
    let origin = Origin::new();
    let origin = origin.bent("/f", file, move |request, reply| match request.nth {
        0 => reply,
        _ => reply.after(&held),
    });
    let origin = origin.start();
    run(async {
        let mut chunks = downloader(&origin, 4).start();
        chunks.next().await.unwrap().unwrap();
    });
    hold.open();
    // Far less than the file: what the sockets and the channel hold.
    assert!(origin.served_bytes() < 48 << 20, "{}", origin.served_bytes());
}

#[test]
fn a_shared_client_keeps_its_connections_and_headers() {
    let origin = Origin::new().file("/f", File::new(1000)).start();
    let client = Client::builder()
        .header(HeaderName::from_static("x-shared"), HeaderValue::from_static("yes"))
        .build()
        .unwrap();
    for _ in 0..3 {
        let builder = Downloader::builder(origin.url("/f")).client(&client).connections(1);
        let chunks = run(builder.build().unwrap().start().try_collect()).unwrap();
        assert!(assemble(chunks) == File::new(1000).whole());
    }
    assert_eq!(origin.connections(), 1);
    assert!(origin.log().iter().all(|request| request.header("x-shared") == Some("yes")));
}

#[test]
fn a_broken_connection_is_mended_inside_the_stream() {
    let file = File::new(SIZE);
    let origin = Origin::new();
    let origin = origin.bent("/f", file, |request, reply| match request.nth {
        0..3 => reply.cut(100_000, Cut::Reset),
        _ => reply,
    });
    let origin = origin.start();
    let chunks = run(downloader(&origin, 4).start().try_collect()).unwrap();
    assert!(assemble(chunks) == file.whole());
}

#[test]
fn nothing_needs_a_runtime_of_the_callers() {
    let origin = Origin::new().file("/f", File::new(1000)).start();
    let dir = tempfile::tempdir().unwrap();
    let url = url::Url::parse(&origin.url("/f")).unwrap();
    let target = ringpull::Target::File(dir.path().join("f"));
    let outcome =
        ringpull::engine::start(url, target, &Options::default()).wait_blocking().unwrap();
    assert_eq!(outcome.bytes, 1000);
    // A future that is polled once and dropped stops its download.
    let options = Options::default();
    let mut call = Box::pin(ringpull::download(origin.url("/f"), dir.path().join("g"), &options));
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending | Poll::Ready(Ok(_))));
}

#[test]
fn what_is_no_url_is_refused_when_built() {
    for url in ["", "nonsense", "ftp://host/f", "http://"] {
        assert_eq!(Downloader::builder(url).build().unwrap_err().kind(), Kind::Usage, "{url}");
    }
    let odd = Downloader::builder("http://host/f").block_size(1000).build();
    assert_eq!(odd.unwrap_err().kind(), Kind::Usage);
}
