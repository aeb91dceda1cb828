//! A few threads that write blocks for one lane thread of the epoll backend.
//!
//! Not tokio's pool of such threads: that panics where no thread can be had. Here the lane thread then
//! writes itself.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::limits::EPOLL_WRITERS;

type Work = Box<dyn FnOnce() + Send>;

/// The threads, started as they are needed. Dropped, it waits for what is queued.
#[derive(Default)]
pub(crate) struct Writers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// No longer than the pool has blocks.
    waiting: VecDeque<Work>,
    idle: usize,
    closed: bool,
}

impl Writers {
    /// Has a thread do the work, or does it here if there is none to be had.
    pub(super) fn run(&self, work: Work) {
        let mut queue = self.shared.lock();
        if queue.idle <= queue.waiting.len() && !self.start_another() {
            drop(queue);
            return work();
        }
        queue.waiting.push_back(work);
        self.shared.changed.notify_one();
    }

    /// Starts a thread if there may be more; false if there is none at all.
    fn start_another(&self) -> bool {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.len() < EPOLL_WRITERS {
            let shared = Arc::clone(&self.shared);
            let builder = std::thread::Builder::new().name("ringpull-write".into());
            threads.extend(builder.spawn(move || shared.work()));
        }
        !threads.is_empty()
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic there has dropped the answer, which its lane has noticed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(work) = queue.waiting.pop_front() {
                drop(queue);
                work();
                queue = self.lock();
                continue;
            }
            if queue.closed {
                return;
            }
            queue.idle += 1;
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn all_work_is_done_by_a_few_threads() {
        let (tell, told) = mpsc::channel();
        let writers = Writers::default();
        for number in 0..100 {
            let tell = tell.clone();
            writers
                .run(Box::new(move || tell.send((number, std::thread::current().id())).unwrap()));
        }
        drop((writers, tell));
        let done: Vec<_> = told.iter().collect();
        let mut numbers: Vec<_> = done.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        let threads: std::collections::HashSet<_> =
            done.iter().map(|(_, thread)| *thread).collect();
        assert!(threads.len() <= EPOLL_WRITERS && !threads.contains(&std::thread::current().id()));
    }
}
