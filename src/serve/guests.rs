//! The list of open connections: bounds their number, and reaches them when the server stops.
//!
//! It reads and sends nothing. Invariant: after the first dismissal nobody is admitted any more, so
//! a dismissal reaches everyone.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::Welcome;

/// The open connections of a server.
#[derive(Debug)]
pub(super) struct Guests {
    list: Mutex<List>,
    fewer: Condvar,
    connections_max: usize,
}

#[derive(Debug, Default)]
struct List {
    open: HashMap<u64, Arc<TcpStream>>,
    served: usize,
    next: u64,
    is_stopping: bool,
}

/// A place on the list, given up when dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    guests: &'a Guests,
    number: u64,
    pub(super) welcome: Welcome,
}

impl Guests {
    pub(super) fn new(connections_max: usize) -> Self {
        Self { list: Mutex::default(), fewer: Condvar::new(), connections_max }
    }

    /// Puts a connection on the list; `None` if it is to be dropped at once.
    ///
    /// Beyond the bound a few more are admitted to be turned away in words.
    pub(super) fn admit(&self, socket: &Arc<TcpStream>) -> Option<Place<'_>> {
        let mut list = self.lock();
        if list.is_stopping || list.open.len() >= self.connections_max + TURNED_AWAY_MAX {
            return None;
        }
        let is_full = list.served >= self.connections_max;
        let welcome = if is_full { Welcome::TurnedAway } else { Welcome::Served };
        list.served += usize::from(!is_full);
        let number = list.next;
        list.next += 1;
        list.open.insert(number, Arc::clone(socket));
        Some(Place { guests: self, number, welcome })
    }

    /// Whether the server stops: the answer at hand is the last of its connection.
    pub(super) fn is_stopping(&self) -> bool {
        self.lock().is_stopping
    }

    /// Admits nobody any more and shuts down one or both directions of everyone. With
    /// [`Shutdown::Read`] idle connections end, and those with an answer under way after it.
    pub(super) fn dismiss(&self, how: Shutdown) {
        let mut list = self.lock();
        list.is_stopping = true;
        for socket in list.open.values() {
            // It fails where the client has left already.
            let _ = socket.shutdown(how);
        }
        drop(list);
        self.fewer.notify_all();
    }

    /// Waits until all have left, at most `time`.
    pub(super) fn wait_until_gone(&self, time: Duration) {
        let remain = |list: &mut List| !list.open.is_empty();
        drop(self.fewer.wait_timeout_while(self.lock(), time, remain));
    }

    /// Waits until somebody leaves or the server stops, at most `time`.
    pub(super) fn wait_for_fewer(&self, time: Duration) {
        let before = self.lock().open.len();
        let none_left = |list: &mut List| !list.is_stopping && list.open.len() >= before;
        drop(self.fewer.wait_timeout_while(self.lock(), time, none_left));
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // The list is whole after each statement that changes it, so a panic elsewhere does not
        // spoil it.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut list = self.guests.lock();
        list.open.remove(&self.number);
        list.served -= usize::from(self.welcome == Welcome::Served);
        drop(list);
        self.guests.fewer.notify_all();
    }
}

/// Connections beyond the bound that hear why they are turned away.
const TURNED_AWAY_MAX: usize = 64;
