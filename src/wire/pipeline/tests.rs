//! A server at the other end of a line: whatever it says, and in whatever parts, nobody gets an answer that
//! belongs to another, and nobody waits for one that cannot come.

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use url::Url;

use super::*;
use crate::wire::Route;

type Answer = oneshot::Receiver<Turn>;

fn key() -> Key {
    let url = Url::parse("http://a.test/").unwrap();
    Key::new(&Route::new(url.clone(), &url), None)
}

/// Runs a test on a thread's own loop.
fn alone<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}

async fn connect() -> (Conn, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    (Conn::new(tcp, None, address), listener.accept().await.unwrap().0)
}

/// A line with so many in it, and the other end.
async fn line_of(count: usize) -> (Pipelines, Vec<Answer>, TcpStream) {
    let (conn, server) = connect().await;
    let (pipelines, mut conn) = (Pipelines::default(), Some(conn));
    let asked = (0..count).map(|_| ask(&pipelines, || conn.take()).unwrap()).collect();
    (pipelines, asked, server)
}

fn ask(pipelines: &Pipelines, idle: impl FnOnce() -> Option<Conn>) -> Option<Answer> {
    pipelines.ask(&key(), idle, || b"?".to_vec()).map(|(answer, _)| answer)
}

/// Reads so many requests, of one byte each.
async fn read(server: &mut TcpStream, count: usize) {
    let mut requests = vec![0; count];
    server.read_exact(&mut requests).await.unwrap();
    assert!(requests.iter().all(|byte| *byte == b'?'));
}

fn plain_answer(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn body_of(turn: Turn) -> Bytes {
    let Turn::Whole(head, body) = turn else { panic!("a plain answer is dealt out whole") };
    assert_eq!(head.length, wide(body.len()));
    body
}

/// What a server may say instead of a plain answer; the last two are cut off.
fn odd_answers() -> impl Strategy<Value = &'static [u8]> {
    prop::sample::select(vec![
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"[..],
        &b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na&b"[..],
        &b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\na&b"[..],
        &b"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\na&b"[..],
        &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\na&b"[..],
        &b"HTTP/1.1 200 OK\r\n\r\nto the end"[..],
        &b"What?\r\n\r\n"[..],
        &b"HTTP/1.1 200 OK\r\nContent-Len"[..],
        &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut"[..],
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn each_gets_its_own_answer_and_nobody_behind_an_odd_one_any(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5),
        odd in prop::option::of(odd_answers()),
        behind in 0..3usize,
        cuts in prop::collection::vec(1..60usize, 1..6),
    ) {
        let mut stream: Vec<u8> = bodies.iter().flat_map(|body| plain_answer(body)).collect();
        let plain_bytes = stream.len();
        stream.extend(odd.unwrap_or_default());
        // What it says to those behind belongs to the connection that they have left.
        if odd.is_some_and(|odd| odd.ends_with(b"ab") || odd.ends_with(b"\r\n")) {
            (0..behind).for_each(|_| stream.extend(plain_answer(b"late")));
        }
        let count = bodies.len() + usize::from(odd.is_some()) + behind;
        alone(async {
            let (pipelines, mut asked, mut server) = line_of(count).await;
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, after) = rest.split_at(rest.len().min(*cut));
                // A reset means that the line has ended.
                if server.write_all(part).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
                rest = after;
            }
            let _ = server.shutdown().await;
            for (answer, body) in asked.drain(..bodies.len()).zip(&bodies) {
                assert_eq!(&body_of(answer.await.unwrap())[..], &body[..]);
            }
            if odd.is_some() {
                let Turn::Rest(_, came) = asked.remove(0).await.unwrap() else {
                    panic!("odd, and dealt out")
                };
                assert!(stream[plain_bytes..].starts_with(&came.bytes));
            }
            for answer in asked {
                assert!(answer.await.is_err(), "an answer to somebody else");
            }
            // Who was left behind by a server that has shown nothing does not queue there again.
            if behind > 0 {
                assert!(!pipelines.may_be_asked(&key()));
            }
        });
    }
}

#[test]
fn requests_share_a_write() {
    alone(async {
        let (_pipelines, asked, mut server) = line_of(3).await;
        assert_eq!(server.read(&mut [0; 9]).await.unwrap(), 3);
        drop(asked);
    });
}

#[test]
fn a_line_has_an_end_and_goes_on_when_the_first_was_answered() {
    alone(async {
        let (pipelines, mut asked, mut server) = line_of(PIPELINE_DEPTH_MAX).await;
        assert!(ask(&pipelines, || panic!("there is a line")).is_none());
        read(&mut server, PIPELINE_DEPTH_MAX).await;
        server.write_all(&plain_answer(b"1")).await.unwrap();
        assert_eq!(&body_of(asked.remove(0).await.unwrap())[..], b"1");
        assert!(ask(&pipelines, || panic!("there is a line")).is_some());
    });
}

#[test]
fn who_has_given_up_takes_no_answer_from_others() {
    alone(async {
        let (_pipelines, mut asked, mut server) = line_of(3).await;
        drop(asked.remove(1));
        for body in [b"1", b"2", b"3"] {
            server.write_all(&plain_answer(body)).await.unwrap();
        }
        assert_eq!(&body_of(asked.remove(0).await.unwrap())[..], b"1");
        assert_eq!(&body_of(asked.remove(0).await.unwrap())[..], b"3");
    });
}

#[test]
fn a_line_that_ends_well_after_some_use_is_followed_by_another() {
    alone(async {
        let (pipelines, asked, mut server) = line_of(1).await;
        let mut asked = asked.into_iter().next();
        for _ in 0..PROVEN_ANSWERS {
            let answer = asked.take().unwrap_or_else(|| ask(&pipelines, || None).unwrap());
            read(&mut server, 1).await;
            server.write_all(&plain_answer(b"x")).await.unwrap();
            body_of(answer.await.unwrap());
        }
        let last = [ask(&pipelines, || None).unwrap(), ask(&pipelines, || None).unwrap()];
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        server.write_all(head).await.unwrap();
        let [closing, left] = last;
        body_of(closing.await.unwrap());
        assert!(left.await.is_err());
        assert!(pipelines.may_be_asked(&key()));
        let (conn, mut server) = connect().await;
        let answer = ask(&pipelines, || Some(conn)).unwrap();
        server.write_all(&plain_answer(b"y")).await.unwrap();
        assert_eq!(&body_of(answer.await.unwrap())[..], b"y");
    });
}

#[test]
fn what_nobody_asked_for_ends_a_line_and_is_no_answer() {
    alone(async {
        let (pipelines, mut asked, mut server) = line_of(1).await;
        let twice = [plain_answer(b"mine"), plain_answer(b"more")].concat();
        server.write_all(&twice).await.unwrap();
        assert_eq!(&body_of(asked.remove(0).await.unwrap())[..], b"mine");
        assert!(pipelines.take(&key()).is_none());
        let (conn, _server) = connect().await;
        assert!(ask(&pipelines, || Some(conn)).is_some(), "over another connection");
    });
}

#[test]
fn the_connection_of_an_empty_line_may_be_taken_and_no_other() {
    alone(async {
        let (pipelines, mut asked, mut server) = line_of(1).await;
        assert!(pipelines.take(&key()).is_none());
        server.write_all(&plain_answer(b"x")).await.unwrap();
        body_of(asked.remove(0).await.unwrap());
        let conn = pipelines.take(&key()).unwrap();
        assert!(conn.is_quiet());
        assert!(pipelines.take(&key()).is_none());
        // The next one begins a line of its own.
        let answer = ask(&pipelines, || Some(conn)).unwrap();
        tokio::task::yield_now().await;
        server.write_all(&plain_answer(b"y")).await.unwrap();
        assert_eq!(&body_of(answer.await.unwrap())[..], b"y");
    });
}

#[test]
fn an_origin_in_doubt_is_not_asked_and_those_in_line_are_answered() {
    alone(async {
        let (pipelines, asked, mut server) = line_of(2).await;
        pipelines.doubt(&key());
        assert!(!pipelines.may_be_asked(&key()));
        assert!(ask(&pipelines, || panic!("no new line either")).is_none());
        for (answer, body) in asked.into_iter().zip([b"1", b"2"]) {
            server.write_all(&plain_answer(body)).await.unwrap();
            assert_eq!(&body_of(answer.await.unwrap())[..], body);
        }
        // Then the connection is closed.
        assert_eq!(server.read(&mut [0; 9]).await.unwrap(), 2);
        assert_eq!(server.read(&mut [0; 9]).await.unwrap(), 0);
    });
}
