//! Receives on both backends, against a socket whose bytes come bit by bit.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;

use super::*;
use crate::block::Place;

const LENGTH: usize = 1 << 20;

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
