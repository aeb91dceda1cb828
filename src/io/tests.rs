//! Receives on both backends, against a socket whose bytes come bit by bit.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::mpsc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::*;
use crate::block::Place;

const LENGTH: usize = 1 << 20;
/// Longer than any wait here takes.
const LONG: Duration = Duration::from_secs(60);

/// The byte at an offset of what the other side sends.
fn byte(at: usize) -> u8 {
    (at % 251).to_le_bytes()[0]
}

/// Sends three blocks, in small writes, to whoever connects.
fn sender() -> (SocketAddr, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let send = move || {
        let (mut socket, _) = listener.accept().unwrap();
        let bytes: Vec<u8> = (0..3 * LENGTH).map(byte).collect();
        bytes.chunks(9973).for_each(|some| socket.write_all(some).unwrap());
    };
    (address, std::thread::spawn(send))
}

async fn fill(socket: &Socket, mut block: Block) -> Block {
    while !block.is_full() {
        let (max, enough) = (block.wanted() - block.filled(), pin!(std::future::pending()));
        let received;
        (received, block) = socket.receive(block, max, Until::All, enough).await;
        assert!(matches!(received.unwrap(), Received::Bytes(1..)));
    }
    block
}

/// Receives two blocks that nobody reads, and a third.
async fn receive(io: Io, address: SocketAddr) {
    let socket = io.adopt(TcpStream::connect(address).await.unwrap()).unwrap();
    for index in 0..3 {
        let offset = u64::from(index) * LENGTH as u64;
        let block = Block::own(Place { index, offset, length: LENGTH });
        let is_unread = index < 2;
        let block = fill(&socket, if is_unread { block.unread() } else { block }).await;
        let wrong = (0..LENGTH).find(|at| block.bytes()[*at] != byte(2 * LENGTH + at));
        assert_eq!(wrong.is_some(), is_unread, "block {index}, byte {wrong:?}");
    }
}

#[test]
fn bytes_that_nobody_reads_are_counted_and_no_more() {
    for wanted in [Wanted::Either, Wanted::Epoll] {
        let (address, sender) = sender();
        let pool = Pool::new(2, LENGTH as u64).unwrap();
        run(wanted, &pool, Box::new(move |io| Box::pin(receive(io, address)))).unwrap();
        sender.join().unwrap();
    }
}

/// Sends some bytes at a time, each when it is told to.
fn teller() -> (SocketAddr, mpsc::Sender<usize>, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel::<usize>();
    let send = move || {
        let (mut socket, _) = listener.accept().unwrap();
        told.iter().for_each(|count| socket.write_all(&vec![7; count]).unwrap());
    };
    (address, tell, std::thread::spawn(send))
}

/// Waits for a block that nobody reads, of which little comes, and then for the start of something else.
async fn receive_little(io: Io, address: SocketAddr, tell: mpsc::Sender<usize>) {
    let socket = io.adopt(TcpStream::connect(address).await.unwrap()).unwrap();
    let mut block = Block::own(Place { index: 0, offset: 0, length: LENGTH }).unread();
    let mut received;
    tell.send(100).unwrap();
    // What is there may come at once, or wait for the rest of the block until it is enough.
    for _ in 0..2 {
        let enough = pin!(tokio::task::yield_now());
        let max = block.wanted() - block.filled();
        (received, block) = socket.receive(block, max, Until::All, enough).await;
        assert_ne!(received.unwrap(), Received::End);
    }
    tell.send(100).unwrap();
    while block.filled() < 200 {
        let (max, enough) = (block.wanted() - block.filled(), pin!(std::future::pending()));
        (received, block) = socket.receive(block, max, Until::Some, enough).await;
        assert!(matches!(received.unwrap(), Received::Bytes(1..)));
    }
    let mut stream = socket.release().unwrap();
    tell.send(1).unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 7);
}

#[test]
fn few_bytes_wake_although_nobody_reads_them() {
    for wanted in [Wanted::Either, Wanted::Epoll] {
        let (address, tell, sender) = teller();
        let pool = Pool::new(2, LENGTH as u64).unwrap();
        let work = move |io| -> Pin<Box<dyn Future<Output = ()>>> {
            let receive = receive_little(io, address, tell);
            Box::pin(async {
                tokio::time::timeout(LONG, receive).await.expect("a wait without end");
            })
        };
        run(wanted, &pool, Box::new(work)).unwrap();
        sender.join().unwrap();
    }
}
