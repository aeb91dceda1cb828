//! Makes the kernel's answers bad on demand, for tests: one operation that an environment variable names, or
//! all of its kind from it on.
//!
//! Only builds with debug assertions have it; in others the two verbs are nothing. It stands where the
//! kernel is asked, so whatever is made of an answer is what is tested. Invariant: an operation that is made
//! to fail is not done.
//!
//! `RINGPULL_FAULT` is `count`, which changes nothing, or `[NAME:]NUMBER[+]:WHAT`: the operation of that
//! number (of that name), and with a plus all of its kind that follow it. WHAT is an error such as
//! `ECONNRESET`, or `short`: half of what a transfer could do. `RINGPULL_FAULT_LOG` names a file that tells
//! at the end what was counted and what failed.

#[cfg(debug_assertions)]
pub(crate) use self::armed::{Watch, check, returned, taken, transfer};

#[cfg(debug_assertions)]
mod armed {
    use std::io;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    /// What is to go wrong, and when.
    struct Order {
        name: Option<String>,
        number: u64,
        and_after: bool,
        what: What,
    }

    #[derive(Clone, Copy)]
    enum What {
        Nothing,
        Short,
        Error(i32),
    }

    static ORDER: OnceLock<Option<Order>> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static STRUCK: Mutex<Option<String>> = Mutex::new(None);
    /// Blocks that somebody holds.
    static BLOCKS: AtomicUsize = AtomicUsize::new(0);

    /// Asked before an operation that is done or not.
    pub(crate) fn check(name: &str) -> io::Result<()> {
        match next(name) {
            What::Error(number) => Err(io::Error::from_raw_os_error(number)),
            What::Nothing | What::Short => Ok(()),
        }
    }

    /// Asked before a transfer of `length` bytes: how many of them it may do. A file takes whole pages only
    /// where it is written around the page cache.
    pub(crate) fn transfer(name: &str, length: usize) -> io::Result<usize> {
        match next(name) {
            What::Error(number) => Err(io::Error::from_raw_os_error(number)),
            What::Short if length > PAGE_BYTES => Ok((length / 2).next_multiple_of(PAGE_BYTES)),
            What::Short if name == "receive" => Ok(length.div_ceil(2)),
            What::Nothing | What::Short => Ok(length),
        }
    }

    fn next(name: &str) -> What {
        let order = ORDER.get_or_init(|| {
            let text = std::env::var("RINGPULL_FAULT").ok()?;
            let order = parse(&text);
            assert!(order.is_some(), "RINGPULL_FAULT={text} cannot be read");
            order
        });
        let Some(order) = order else { return What::Nothing };
        if order.name.as_ref().is_some_and(|only| only != name) {
            return What::Nothing;
        }
        let number = COUNT.fetch_add(1, Relaxed) + 1;
        if number < order.number || (number > order.number && !order.and_after) {
            return What::Nothing;
        }
        let mut struck = STRUCK.lock().unwrap_or_else(PoisonError::into_inner);
        match &*struck {
            Some(before) if before != name => return What::Nothing,
            Some(_) => {}
            None => *struck = Some(name.to_owned()),
        }
        order.what
    }

    fn parse(text: &str) -> Option<Order> {
        if text == "count" {
            return Some(Order {
                name: None,
                number: u64::MAX,
                and_after: false,
                what: What::Nothing,
            });
        }
        let mut parts = text.rsplit(':');
        let what = match parts.next()? {
            "short" => What::Short,
            name => What::Error(ERRORS.iter().find(|(known, _)| *known == name)?.1),
        };
        let number = parts.next()?;
        let and_after = number.ends_with('+');
        let number = number.trim_end_matches('+').parse().ok()?;
        Some(Order { name: parts.next().map(ToOwned::to_owned), number, and_after, what })
    }

    /// Looks after what a run must give back: blocks and descriptors.
    pub(crate) struct Watch {
        descriptors: usize,
    }

    impl Watch {
        /// Begins where nothing is held.
        pub(crate) fn begin() -> Self {
            Self { descriptors: descriptors() }
        }

        /// Ends where nothing may be held any more.
        ///
        /// # Panics
        /// If a block or a descriptor is still held after a while, which threads that nobody waits for may
        /// need.
        pub(crate) fn end(self) {
            if ORDER.get().is_none_or(Option::is_none) {
                return;
            }
            let held = || (BLOCKS.load(Relaxed), descriptors());
            for _ in 0..PATIENCE {
                if held() == (0, self.descriptors) {
                    break;
                }
                std::thread::sleep(LOOK_EVERY);
            }
            let (blocks, descriptors) = held();
            assert_eq!(blocks, 0, "so many blocks were not given back");
            assert_eq!(descriptors, self.descriptors, "descriptors leak");
            let Some(path) = std::env::var_os("RINGPULL_FAULT_LOG") else { return };
            let struck = STRUCK.lock().unwrap_or_else(PoisonError::into_inner);
            let text = format!("{} {}\n", COUNT.load(Relaxed), struck.as_deref().unwrap_or("-"));
            std::fs::write(path, text)
                .expect("proof: the test that names the file has made room for it");
        }
    }

    fn descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
    }

    /// Notes that a block is held.
    pub(crate) fn taken() {
        BLOCKS.fetch_add(1, Relaxed);
    }

    /// Notes that a block is not held any more.
    pub(crate) fn returned() {
        BLOCKS.fetch_sub(1, Relaxed);
    }

    /// What the kernel may say.
    const ERRORS: [(&str, i32); 11] = [
        ("EIO", libc::EIO),
        ("ENOSPC", libc::ENOSPC),
        ("EINTR", libc::EINTR),
        ("EAGAIN", libc::EAGAIN),
        ("ENOMEM", libc::ENOMEM),
        ("ECONNRESET", libc::ECONNRESET),
        ("ECANCELED", libc::ECANCELED),
        ("EMLINK", libc::EMLINK),
        ("EPERM", libc::EPERM),
        ("EXDEV", libc::EXDEV),
        ("EOPNOTSUPP", libc::EOPNOTSUPP),
    ];
    /// Direct writes are cut at whole pages: the kernel never cuts them elsewhere.
    const PAGE_BYTES: usize = 4096;
    /// Looks at what is held before it counts as lost.
    const PATIENCE: u32 = 250;
    const LOOK_EVERY: Duration = Duration::from_millis(20);
}

#[cfg(not(debug_assertions))]
pub(crate) use self::idle::{Watch, check, returned, taken, transfer};

#[cfg(not(debug_assertions))]
mod idle {
    use std::io;

    pub(crate) struct Watch;

    impl Watch {
        pub(crate) fn begin() -> Self {
            Self
        }

        pub(crate) fn end(self) {}
    }

    #[inline]
    pub(crate) fn check(_: &str) -> io::Result<()> {
        Ok(())
    }

    #[inline]
    pub(crate) fn transfer(_: &str, length: usize) -> io::Result<usize> {
        Ok(length)
    }

    #[inline]
    pub(crate) fn taken() {}

    #[inline]
    pub(crate) fn returned() {}
}
