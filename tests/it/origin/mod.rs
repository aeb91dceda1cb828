//! A scripted HTTP/1.1 origin: virtual files, honest answers, and scripts that bend them.
//!
//! It runs inside the test on blocking sockets, a thread a connection, over plain TCP or TLS. It logs every
//! request. Dropping [`Running`] stops it and joins its threads; a failed assertion in a script fails the
//! test.

mod answer;
mod certificate;
mod file;
mod frames;
mod http2;
mod latch;
mod reply;
mod request;
mod stream;
mod tests;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::ServerConfig;

pub(crate) use certificate::Certificate;
pub(crate) use file::{File, Validator, assert_file_is};
pub(crate) use frames::{Frames, frame};
pub(crate) use http2::{Act, Asked, Http2Origin, Manner};
pub(crate) use latch::Latch;
pub(crate) use reply::{Body, Cut, Reply};
pub(crate) use request::Request;

use stream::Stream;

/// Longest wait for a request that a test expects.
const LOG_DEADLINE: Duration = Duration::from_secs(30);

type Script = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

/// An origin that is being put together.
#[derive(Default)]
pub(crate) struct Origin {
    routes: BTreeMap<String, Script>,
    certificate: Option<Certificate>,
    deaf: Option<Deaf>,
    frames: Option<frames::Script>,
}

/// The first connections do not listen.
struct Deaf {
    connections: usize,
    /// What is said all the same.
    answer: Vec<u8>,
    cut: Cut,
}

impl Origin {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Serves `file` honestly.
    pub(crate) fn file(self, path: &str, file: File) -> Self {
        self.bent(path, file, |_, reply| reply)
    }

    /// Serves `file`, each honest reply bent by `script`.
    pub(crate) fn bent(
        self,
        path: &str,
        file: File,
        script: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.at(path, move |request| script(request, Reply::honest(&file, request)))
    }

    /// Answers requests for `path`, query included, with what `script` says.
    pub(crate) fn at(
        mut self,
        path: &str,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.routes.insert(path.to_owned(), Box::new(script));
        self
    }

    pub(crate) fn tls(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Ends the first `count` connections before their request is read.
    pub(crate) fn deaf(self, count: usize, cut: Cut) -> Self {
        self.hasty(count, b"", cut)
    }

    /// As [`Self::deaf`], and says something first.
    pub(crate) fn hasty(mut self, connections: usize, answer: &[u8], cut: Cut) -> Self {
        self.deaf = Some(Deaf { connections, answer: answer.to_vec(), cut });
        self
    }

    /// Agrees on HTTP/2 over TLS, and says what `script` says to each request of a connection: the arguments
    /// are the numbers of the connection and of the stream.
    pub(crate) fn frames(
        mut self,
        script: impl Fn(usize, u32) -> Frames + Send + Sync + 'static,
    ) -> Self {
        self.frames = Some(Box::new(script));
        self.tls(Certificate::valid_for("localhost"))
    }

    /// Listens on a free port of the loopback interface.
    pub(crate) fn start(self) -> Running {
        self.start_on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// Takes the connections of this listener.
    pub(crate) fn start_on(self, listener: TcpListener) -> Running {
        let address = listener.local_addr().unwrap();
        let mut tls = self.certificate.as_ref().map(Certificate::server_config);
        if let (Some(tls), Some(_)) = (&mut tls, &self.frames) {
            Arc::make_mut(tls).alpn_protocols = vec![b"h2".to_vec()];
        }
        let shared = Arc::new(Shared {
            routes: self.routes,
            tls,
            deaf: self.deaf,
            frames: self.frames,
            state: Mutex::default(),
            changed: Condvar::new(),
            stopped: Latch::default(),
            served_bytes: AtomicU64::new(0),
        });
        let accepting = shared.clone();
        let acceptor = thread::spawn(move || accepting.accept(&listener));
        Running { address, certificate: self.certificate, shared, acceptor: Some(acceptor) }
    }
}

/// An origin at work.
pub(crate) struct Running {
    address: SocketAddr,
    pub(crate) certificate: Option<Certificate>,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn url(&self, path: &str) -> String {
        match &self.certificate {
            None => format!("http://{}{path}", self.address),
            Some(certificate) => {
                format!("https://{}:{}{path}", certificate.host, self.address.port())
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far, in the order they came.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.shared.lock().log.clone()
    }

    /// All requests so far, one JSON object a line, to be read by whoever wonders why a test failed.
    pub(crate) fn log_lines(&self) -> String {
        self.log().iter().map(|request| format!("{}\n", request.to_json())).collect()
    }

    /// Body bytes handed to the kernel so far.
    pub(crate) fn served_bytes(&self) -> u64 {
        self.shared.served_bytes.load(SeqCst)
    }

    /// Number of connections that carried a request.
    pub(crate) fn connections(&self) -> usize {
        let mut numbers: Vec<_> = self.log().iter().map(|request| request.connection).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.len()
    }

    /// Waits until so many requests have come.
    pub(crate) fn wait_for_requests(&self, count: usize) {
        let state = self.shared.lock();
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, LOG_DEADLINE, |state| state.log.len() < count)
            .unwrap();
        assert!(state.log.len() >= count, "only {} requests came", state.log.len());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stopped.open();
        // Wakes the acceptor, which then cuts what is still open and joins.
        drop(TcpStream::connect(self.address));
        let joined = self.acceptor.take().map(JoinHandle::join);
        assert!(
            thread::panicking() || matches!(joined, Some(Ok(()))),
            "a script of the origin panicked"
        );
    }
}

/// What the threads of an origin share.
struct Shared {
    routes: BTreeMap<String, Script>,
    tls: Option<Arc<ServerConfig>>,
    deaf: Option<Deaf>,
    frames: Option<frames::Script>,
    state: Mutex<State>,
    /// Told when the log grows.
    changed: Condvar,
    stopped: Latch,
    served_bytes: AtomicU64,
}

#[derive(Default)]
struct State {
    log: Vec<Request>,
    /// Second handles of the open connections, to cut them at the end.
    open: BTreeMap<usize, TcpStream>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn accept(&self, listener: &TcpListener) {
        thread::scope(|scope| {
            for number in 0.. {
                let (socket, _) = listener.accept().unwrap();
                if self.stopped.is_open_within(Duration::ZERO) {
                    break;
                }
                self.lock().open.insert(number, socket.try_clone().unwrap());
                scope.spawn(move || self.converse(socket, number));
            }
            for socket in self.lock().open.values() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        });
    }

    /// Answers the requests of one connection until either side ends it.
    fn converse(&self, socket: TcpStream, number: usize) {
        if let Some(deaf) = self.deaf.as_ref().filter(|deaf| number < deaf.connections) {
            let mut stream = Stream::Plain(socket);
            let _ = stream.write_all(&deaf.answer);
            if deaf.cut == Cut::Reset {
                self.forget(number);
            }
            stream.end(deaf.cut);
            return self.forget(number);
        }
        if let Some(script) = &self.frames {
            if let Ok(mut stream) = Stream::new(socket, self.tls.clone()) {
                // What the client does to its connections is its own business.
                let _ = frames::converse(&mut stream, |id| script(number, id));
                stream.close();
            }
            return self.forget(number);
        }
        if let Ok(mut stream) = Stream::new(socket, self.tls.clone()) {
            for turn in 0.. {
                let Ok(Some(request)) = Request::read(&mut stream) else { break };
                // Only what a mirror holds against a digest may be asked for in line, and that whole.
                let may_wait = request.range.is_none() && request.header("if-range").is_none();
                let has_followers = stream.has_more();
                assert!(may_wait || !has_followers, "asked again before the answer: {request:?}");
                let certified = stream.is_certified();
                let connection = number;
                let request =
                    self.note(Request { connection, turn, has_followers, certified, ..request });
                let mut reply = match self.routes.get(&request.path) {
                    Some(script) => script(&request),
                    None => Reply::status("404 Not Found"),
                };
                reply.close |= request.header("connection") == Some("close");
                match self.answer(reply, &request, stream, number) {
                    Some(again) => stream = again,
                    None => break,
                }
            }
        }
        self.forget(number);
    }

    /// Logs a request and fills in its place among the others.
    fn note(&self, mut request: Request) -> Request {
        let mut state = self.lock();
        request.nth = state.log.iter().filter(|before| before.path == request.path).count();
        request.open = state.open.range(..=request.connection).count();
        state.log.push(request.clone());
        self.changed.notify_all();
        request
    }

    fn forget(&self, number: usize) {
        self.lock().open.remove(&number);
    }
}
