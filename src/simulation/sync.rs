//! Syncs of the ledger: the real ones, which wait at each call until the disk of the world has ended it.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::disk::Mark;
use super::life::Life;
use crate::error::Kind;
use crate::ledger::Due;

/// A sync of the ledger on its way.
pub(super) struct Sync {
    future: Pin<Box<dyn Future<Output = io::Result<()>>>>,
    calls: Rc<RefCell<Calls>>,
    mark: Mark,
    ledger_bytes: u64,
}

#[derive(Default)]
struct Calls {
    begun: u32,
    answer: Option<io::Result<()>>,
}

impl Life<'_> {
    pub(super) fn begin_sync(&mut self, due: Due) {
        let calls = Rc::<RefCell<Calls>>::default();
        let theirs = Rc::clone(&calls);
        let sync = move |_| {
            theirs.borrow_mut().begun += 1;
            let theirs = Rc::clone(&theirs);
            std::future::poll_fn(move |_| match theirs.borrow_mut().answer.take() {
                Some(answer) => Poll::Ready(answer),
                None => Poll::Pending,
            })
        };
        let mut future: Pin<Box<dyn Future<Output = io::Result<()>>>> = Box::pin(due.settle(sync));
        let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let mark = self.world.disk.begin_sync();
        self.syncs.push(Sync { future, calls, mark, ledger_bytes: 0 });
    }

    /// The disk ends what the first sync waits for.
    pub(super) fn poke(&mut self) {
        let world = &mut *self.world;
        let Some(sync) = self.syncs.first_mut() else { return };
        let begun = sync.calls.borrow().begun;
        let fails = world.disk_fails();
        let answer = match (begun, fails) {
            (1, true) => {
                world.disk.failed(sync.mark, &mut world.rng);
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
            (_, true) => Err(io::Error::from_raw_os_error(libc::EIO)),
            (1, false) => {
                world.disk.synced(sync.mark);
                Ok(())
            }
            (2, false) => {
                world.disk.ledger_synced(sync.ledger_bytes);
                Ok(())
            }
            (_, false) => {
                world.disk.anchored();
                Ok(())
            }
        };
        world.note(|| format!("sync {begun}: {answer:?}"));
        sync.calls.borrow_mut().answer = Some(answer);
        let polled = sync.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        // Covered is what was written when the call began, and it has just begun.
        sync.ledger_bytes = fs::metadata(&world.disk.ledger).map_or(0, |meta| meta.len());
        if let Poll::Ready(result) = polled {
            self.syncs.remove(0);
            if result.is_err() {
                self.table.fail(Kind::LocalIo);
            }
        }
    }
}
