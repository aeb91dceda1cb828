//! Reads the list into the catalog: a file, standard input, an address, or the indexes of a directory.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use url::Url;

use super::counts::{Counts, Stage};
use super::limit::Limit;
use super::page::Asker;
use super::{List, Order};
use crate::catalog::{Builder, Catalog};
use crate::error::{Error, Kind, Result};
use crate::io::{self, Wanted};
use crate::limits::BLOCK_SIZE_MIN;
use crate::manifest::{self, BadLine, Entry, Filter, Found, Link, Listing};
use crate::meter::Event;
use crate::options::{Options, Target};
use crate::tempo::Tempo;
use crate::wire::Route;

/// Reads the list.
///
/// # Errors
/// If it cannot be read to its end: then nobody knows what is wanted, and nothing is begun.
pub(super) fn catalog(
    order: &Order,
    state: &Path,
    counts: &Arc<Counts>,
    limit: &Limit,
    tempo: Option<&Arc<Mutex<Tempo>>>,
) -> Result<Catalog> {
    counts.set_stage(Stage::Reading);
    let filter = order.filter()?;
    let mut builder = Builder::new(state)?;
    let mut each = |found: Found| -> Result<()> {
        limit.check()?;
        match &found {
            Found::Entry(entry) if !filter.takes(&entry.path) => Ok(()),
            Found::Doubt(doubt) => {
                if doubt.path.as_ref().is_none_or(|path| filter.takes(path)) {
                    counts.tell(Event::Notice(format!("line {}: {}", doubt.line, doubt.why)));
                }
                Ok(())
            }
            _ => builder.push(found),
        }
    };
    let base = order.base_url.as_ref();
    let read = match &order.list {
        List::File(path) => {
            let open = File::open(path).map_err(|error| no_list(path, error))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            manifest::read(limit.heed(open), &name, order.format, base, &mut each)
        }
        List::Stdin => {
            // Without the buffer of the library: what is in it cannot be waited for.
            let stdin = std::io::stdin().as_fd().try_clone_to_owned();
            let stdin =
                stdin.map_err(|error| Error::local("read", Path::new("standard input"), error))?;
            manifest::read(limit.heed(stdin.into()), "", order.format, base, &mut each)
        }
        List::Url(url) if order.is_walk() => {
            walk(order, &filter, url, counts, (limit, tempo), &mut each)
        }
        List::Url(url) => {
            let open = fetch(order, url, &state.join("list"), limit)?;
            let name = url.path().rsplit('/').next().unwrap_or_default();
            let base = base.cloned().or_else(|| url.join(".").ok());
            manifest::read(open, name, order.format, base.as_ref(), &mut each)
        }
    };
    // Whoever was stopped at it could not read on.
    read.map_err(|error| limit.check().err().unwrap_or(error))?;
    builder.finish(&|| limit.check())
}

/// The list cannot be opened.
fn no_list(path: &Path, error: std::io::Error) -> Error {
    let (shown, why) = (path.to_string_lossy(), crate::error::reason(&error));
    let message = format!("cannot open the list {}: {why}", crate::error::Escaped(&shown));
    Error::new(Kind::LocalIo, message).because(error)
}

/// Fetches a list to where it can be read.
fn fetch(order: &Order, url: &Url, path: &Path, limit: &Limit) -> Result<File> {
    let failed = |error| Error::local("open", path, error);
    let options = Options { overwrite: true, ..order.options.clone() };
    let download = crate::engine::start(url.clone(), Target::File(path.to_owned()), &options);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map_err(failed)?.block_on(async {
        tokio::select! {
            biased;
            ended = download.wait() => ended.map(|_| ()),
            why = limit.over() => Err(why),
        }
    })?;
    File::open(path).map_err(failed)
}

/// Walks the indexes of a directory on a server and all below it, on a loop of its own.
fn walk(
    order: &Order,
    filter: &Filter,
    url: &Url,
    counts: &Arc<Counts>,
    (limit, tempo): (&Limit, Option<&Arc<Mutex<Tempo>>>),
    each: &mut dyn FnMut(Found) -> Result<()>,
) -> Result<()> {
    let (tell, told) = std::sync::mpsc::sync_channel::<Result<Found>>(1024);
    let (options, counts, root) = (order.options.clone(), Arc::clone(counts), url.clone());
    let (filter, limit, tempo) = (filter.clone(), limit.clone(), tempo.cloned());
    let walker = std::thread::Builder::new().name("ringpull-walk".into()).spawn(move || {
        let pool = crate::block::Pool::new(1, BLOCK_SIZE_MIN);
        let work: io::Work = Box::new(move |io| {
            Box::pin(async move {
                let asker = Asker {
                    io: &io,
                    options: &options,
                    counts: &counts,
                    tempo: tempo.as_deref(),
                    near: None,
                    is_checked: false,
                };
                let ended = tokio::select! {
                    biased;
                    ended = visit(&asker, &filter, root, &tell) => ended,
                    why = limit.over() => Err(why),
                };
                if let Err(error) = ended {
                    // Nobody may listen any more.
                    let _ = tell.send(Err(error));
                }
            })
        });
        pool.and_then(|pool| {
            io::run(Wanted::Epoll, &pool, work)
                .map(|_| ())
                .map_err(|error| Error::local("start", Path::new("an event loop"), error))
        })
    });
    let walker = walker.map_err(|error| Error::local("start", Path::new("a thread"), error))?;
    // What is sent is bounded, and whoever stops to listen stops the walker.
    told.iter().try_for_each(|found| each(found?))?;
    let died = |_| Error::new(Kind::Internal, "a thread of the mirror ended unexpectedly");
    walker.join().map_err(died)?
}

async fn visit(
    asker: &Asker<'_>,
    filter: &Filter,
    root: Url,
    tell: &std::sync::mpsc::SyncSender<Result<Found>>,
) -> Result<()> {
    let mut left = VecDeque::from([(root.clone(), String::new())]);
    let mut line = 0;
    while let Some((url, prefix)) = left.pop_front() {
        let route = Route::new(url.clone(), &root);
        let page = page_of(asker, route).await;
        let listed = page.and_then(|(page, kind, at)| manifest::links(&page, kind.as_deref(), &at));
        let Listing { links, bad } = match listed {
            Ok(listing) => listing,
            // Without its first page the list is none.
            Err(error) if prefix.is_empty() => return Err(error),
            Err(error) => {
                // What is below is unknown, not absent.
                line += 1;
                let why = format!("the index of this directory cannot be read: {error}");
                let bad = BadLine { line, path: Some(prefix), why };
                if tell.send(Ok(Found::Bad(bad))).is_err() {
                    return Ok(());
                }
                continue;
            }
        };
        for why in bad {
            line += 1;
            let path = Some(prefix.clone()).filter(|prefix| !prefix.is_empty());
            if tell.send(Ok(Found::Bad(BadLine { line, path, why }))).is_err() {
                return Ok(());
            }
        }
        for link in links {
            let path = format!("{prefix}{}", link.name);
            let found = match manifest::check_path(&path) {
                Ok(()) if link.is_dir && !filter.enters(&path) => continue,
                Ok(()) if link.is_dir && left.len() >= DIRECTORIES_LEFT_MAX => {
                    let message = "the index has too many directories";
                    let error = Error::new(Kind::Protocol, message);
                    return Err(error.hint("mirror its parts by themselves"));
                }
                Ok(()) if link.is_dir => {
                    left.push_back((link.url, format!("{path}/")));
                    continue;
                }
                Ok(()) => Found::Entry(listed_entry(path, link, line + 1)),
                // Also ends a server that has a directory below every other.
                Err(why) => {
                    Found::Bad(BadLine { line: line + 1, path: Some(path), why: why.into() })
                }
            };
            line += 1;
            if tell.send(Ok(found)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The entry that a link of an index makes.
fn listed_entry(path: String, link: Link, line: u64) -> Entry {
    let Link { url, size, modified, .. } = link;
    Entry { path, urls: vec![url], size, checksum: None, stretches: None, modified, line }
}

/// A page, after a few attempts.
async fn page_of(asker: &Asker<'_>, route: Route) -> Result<(Vec<u8>, Option<String>, Url)> {
    use crate::retry::{Decision, Policy, judge};
    let policy = Policy { retries: asker.options.retries };
    let mut failures = 0;
    loop {
        let error = match asker.page(route.clone()).await {
            Ok(page) => return Ok(page),
            Err(trouble) => trouble.error,
        };
        failures += 1;
        match judge(error.kind(), failures, error.wait_asked(), fastrand::f64(), &policy) {
            Decision::Again(wait) => tokio::time::sleep(wait).await,
            Decision::GiveUp => return Err(error),
        }
    }
}

/// Directories of a server that wait to be walked.
const DIRECTORIES_LEFT_MAX: usize = 1 << 20;
