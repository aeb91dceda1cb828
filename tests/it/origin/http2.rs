//! A scripted server that speaks HTTP/2 over TLS: it serves files from their seeds, and does wrong what it is
//! told to.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::{Certificate, File, Running};

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// Which request for this path it is, from 0.
    pub(crate) nth: usize,
    /// Which connection it came over, from 0.
    pub(crate) connection: usize,
    /// Which stream of that connection it is, from 0.
    pub(crate) stream: usize,
    /// Streams that were not answered whole, this one among them, on all connections.
    pub(crate) open: usize,
    pub(crate) authority: String,
    pub(crate) headers: HeaderMap,
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Serve,
    /// Ends the stream for this reason, and has done nothing.
    Refuse(Reason),
    /// Ends the stream after so many bytes of the body.
    Reset(usize),
    /// Sends so many bytes of the body, and no more.
    Stall(usize),
    /// Does not answer.
    Mute,
    /// Serves it, takes no more on this connection, and ends what is begun.
    GoAway,
    /// Closes the connection under all that is on it.
    Hang,
    Status(u16, Vec<(&'static str, String)>),
    /// Tells a length that is wrong by so much.
    Lie(i64),
    /// Tells no length.
    Unsized,
    /// Tells no length, and ends the stream for this reason after so many bytes.
    Cut(usize, Reason),
    /// Adds so many header fields of so many bytes.
    Fields(usize, usize),
}

/// How the server deals with connections.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// Requests at a time on each.
    streams_max: u32,
    /// Who answers those that speak HTTP/1.1; they are refused otherwise.
    older: Option<SocketAddr>,
}

impl Manner {
    pub(crate) fn new(streams_max: u32) -> Self {
        Self { streams_max, older: None }
    }

    /// Hands those who do not choose HTTP/2 to an origin without TLS.
    pub(crate) fn beside(self, older: &Running) -> Self {
        Self { older: Some(older.address()), ..self }
    }
}

type Script = Arc<dyn Fn(&Asked) -> Act + Send + Sync>;

/// The server at work. Dropping it ends it.
pub(crate) struct Http2Origin {
    address: String,
    pub(crate) certificate: Certificate,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    files: HashMap<String, File>,
    script: Script,
    manner: Manner,
    connections: AtomicUsize,
    open: AtomicUsize,
    log: Mutex<Vec<Asked>>,
}

impl Http2Origin {
    /// Serves `files`, doing to each request what the script says; at most `streams_max` at a time on each
    /// connection.
    pub(crate) fn start(
        files: &[(String, File)],
        streams_max: u32,
        script: impl Fn(&Asked) -> Act + Send + Sync + 'static,
    ) -> Self {
        let certificate = Certificate::valid_for("localhost");
        Self::start_as(certificate, Manner::new(streams_max), files, script)
    }

    /// As [`Self::start`], under this certificate and in this manner.
    pub(crate) fn start_as(
        certificate: Certificate,
        manner: Manner,
        files: &[(String, File)],
        script: impl Fn(&Asked) -> Act + Send + Sync + 'static,
    ) -> Self {
        let mut config = (*certificate.server_config()).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        if manner.older.is_some() {
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let files = files.iter().map(|(path, file)| (format!("/{path}"), *file)).collect();
        let shared = Arc::new(Shared {
            files,
            script: Arc::new(script),
            manner,
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            log: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            runtime.block_on(local.run_until(async move {
                tokio::select! {
                    () = listen(listener, acceptor, theirs) => {}
                    _ = stopped => {}
                }
            }));
        });
        Self { address, certificate, shared, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// All requests so far.
    pub(crate) fn log(&self) -> Vec<Asked> {
        self.shared.log.lock().unwrap().clone()
    }

    /// Connections over which something was asked.
    pub(crate) fn connections(&self) -> usize {
        let mut seen: Vec<_> = self.log().into_iter().map(|asked| asked.connection).collect();
        seen.sort_unstable();
        seen.dedup();
        seen.len()
    }
}

impl Drop for Http2Origin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::task::spawn_local(async move {
            // What the client does to its connections is its own business.
            let _ = connection(tcp, acceptor, shared).await;
        });
    }
}

async fn connection(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut tls = acceptor.accept(tcp).await?;
    if let (Some(older), false) =
        (shared.manner.older, tls.get_ref().1.alpn_protocol() == Some(b"h2"))
    {
        let mut behind = TcpStream::connect(older).await?;
        tokio::io::copy_bidirectional(&mut tls, &mut behind).await?;
        return Ok(());
    }
    let mut all = h2::server::Builder::new()
        .max_concurrent_streams(shared.manner.streams_max)
        .handshake(tls)
        .await?;
    let number = shared.connections.fetch_add(1, SeqCst);
    let mut stream = 0;
    while let Some(come) = all.accept().await {
        let (request, respond) = come?;
        let asked = shared.note(&request, number, stream);
        stream += 1;
        let act = (shared.script)(&asked);
        match act {
            Act::Hang => return Ok(()),
            Act::GoAway => all.graceful_shutdown(),
            _ => {}
        }
        let shared = Arc::clone(&shared);
        tokio::task::spawn_local(async move {
            let file = shared.files.get(&asked.path).copied();
            let _ = answer(respond, act, file).await;
            shared.open.fetch_sub(1, SeqCst);
        });
    }
    Ok(())
}

impl Shared {
    fn note(&self, request: &Request<RecvStream>, connection: usize, stream: usize) -> Asked {
        let mut log = self.log.lock().unwrap();
        let path = request.uri().path().to_owned();
        let nth = log.iter().filter(|before| before.path == path).count();
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let headers = request.headers().clone();
        let open = self.open.fetch_add(1, SeqCst) + 1;
        let asked = Asked { path, nth, connection, stream, open, authority, headers };
        log.push(asked.clone());
        asked
    }
}

async fn answer(
    mut respond: SendResponse<Bytes>,
    act: Act,
    file: Option<File>,
) -> Result<(), h2::Error> {
    let mut head = Response::builder();
    let Some(file) = file.filter(|_| !matches!(act, Act::Status(..))) else {
        let (status, fields) = match act {
            Act::Status(status, fields) => (status, fields),
            _ => (404, Vec::new()),
        };
        head = head.status(StatusCode::from_u16(status).unwrap());
        for (name, value) in fields {
            head = head.header(name, value);
        }
        respond.send_response(head.body(()).unwrap(), true)?;
        return Ok(());
    };
    let body = file.whole();
    let length = body.len() as i64;
    head = head.header("etag", file.etag());
    head = match act {
        Act::Unsized | Act::Cut(..) => head,
        Act::Lie(by) => head.header("content-length", length + by),
        _ => head.header("content-length", length),
    };
    if let Act::Fields(count, bytes) = act {
        for number in 0..count {
            head = head.header(format!("x-{number}"), "x".repeat(bytes));
        }
    }
    let most = match act {
        Act::Refuse(reason) => {
            respond.send_reset(reason);
            return Ok(());
        }
        Act::Mute => {
            std::future::poll_fn(|cx| respond.poll_reset(cx)).await?;
            return Ok(());
        }
        Act::Reset(most) | Act::Stall(most) | Act::Cut(most, _) => most.min(body.len()),
        _ => body.len(),
    };
    let is_whole = !matches!(act, Act::Reset(_) | Act::Stall(_) | Act::Cut(..));
    let mut send = respond.send_response(head.body(()).unwrap(), false)?;
    send.send_data(body[..most].to_vec().into(), is_whole)?;
    let reason = match act {
        Act::Reset(_) => Reason::INTERNAL_ERROR,
        Act::Cut(_, reason) => reason,
        Act::Stall(_) => {
            std::future::poll_fn(|cx| send.poll_reset(cx)).await?;
            return Ok(());
        }
        _ => return Ok(()),
    };
    // Not before the bytes are on their way.
    tokio::task::yield_now().await;
    send.send_reset(reason);
    Ok(())
}
