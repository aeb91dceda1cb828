//! Work that may take a while, on a thread of its own: resolving a name, opening a file.
//!
//! Not tokio's pool of such threads: that panics where no thread can be had.

use std::panic::resume_unwind;
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use crate::error::Result;

/// Runs `work` beside the others on this thread and waits for it; in their way where no thread can be had.
/// It runs to its end even if the future is dropped.
///
/// # Errors
/// As `work`.
///
/// # Panics
/// If `work` does.
pub(crate) async fn aside<T, W>(work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T> + Send + 'static,
{
    let (hand, handed) = mpsc::sync_channel::<W>(1);
    let (tell, told) = oneshot::channel();
    let body = move || {
        let Ok(work) = handed.recv() else { return };
        // Nobody may wait any more.
        let _ = tell.send(work());
    };
    let Ok(thread) = thread::Builder::new().name("ringpull-aside".into()).spawn(body) else {
        return work();
    };
    hand.send(work).expect("proof: the thread waits for it");
    match told.await {
        Ok(done) => done,
        Err(_) => match thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => unreachable!("a thread that ends has told its result"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn the_result_comes_back_from_another_thread() {
        let here = thread::current().id();
        assert_ne!(run(aside(|| Ok(thread::current().id()))).unwrap(), here);
        let failed = run(aside(|| Err::<(), _>(Error::new(Kind::LocalIo, "no"))));
        assert_eq!(failed.unwrap_err().kind(), Kind::LocalIo);
    }

    #[test]
    #[should_panic(expected = "on purpose")]
    fn a_panic_comes_back_too() {
        let _ = run(aside(|| -> Result<()> { panic!("on purpose") }));
    }
}
