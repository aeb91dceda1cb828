//! `ringpull mirror`: the command line becomes an order, the order is run and told of.
//!
//! Not here: what a run does. Invariant: exit code 0 only where the run is sealed and every entry is done.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use clap::builder::FalseyValueParser;
use url::Url;

use super::args::{
    DownloadArgs, HttpArgs, IntegrityArgs, NetworkArgs, OutputArgs, TalkArgs, TlsArgs, TransferArgs,
};
use super::config;
use super::run::Stop;
use super::{addresses, terminal};
use crate::error::{Error, Kind, Result};
use crate::mirror::{
    self, Dedupe, Format, JOBS_DEFAULT, List, Order, PER_HOST_DEFAULT, Sealed, Verify,
};
use crate::options::IoChoice;
use crate::report::{MirrorReport, Output, TICK};
use crate::units::parse_size;

/// The options of `ringpull mirror`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MirrorArgs {
    /// The list: a file, `-` for standard input, the URL of a list, or a URL ending in `/` to walk its
    /// indexes
    #[arg(value_name = "LIST")]
    list: String,
    /// The directory to bring in line with the list
    #[arg(short, long, value_name = "DIR")]
    dir: PathBuf,
    /// What relative addresses of the list are relative to
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The format of the list: auto, tsv, csv, jsonl, list, aria2, sha256sums, metalink or index
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = format)]
    format: Wanted,
    /// Take only paths that match GLOB (repeatable)
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Leave out paths that match GLOB, also those that are included (repeatable)
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Remove files that the list does not have, and empty directories, if everything else is done
    #[arg(long, value_parser = FalseyValueParser::new())]
    delete: bool,
    /// Remove nothing if it would be more than N files [default: the larger of 1000 and a tenth of the list]
    #[arg(long, value_name = "N", requires = "delete")]
    max_delete: Option<u64>,
    /// Read again what seems unchanged, and compare digests: none, sample (one in a hundred) or all
    #[arg(long, value_name = "HOW", default_value = "none", value_parser = verify())]
    verify: String,
    /// Fetch entries of equal digests once, and make the others from the first: auto (reflink where the file
    /// system can, else hardlink), reflink or hardlink. Hard links are one file: the date of the first counts
    /// for all, and whoever writes to one writes to all
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "auto", value_parser = dedupe())]
    dedupe: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long, value_parser = FalseyValueParser::new())]
    dry_run: bool,
    /// Entries in flight at a time
    #[arg(short, long, value_name = "N", default_value_t = JOBS_DEFAULT)]
    jobs: NonZeroU16,
    /// Most connections to one host, or requests at a time over HTTP/2
    #[arg(long, value_name = "N", default_value_t = PER_HOST_DEFAULT)]
    per_host: NonZeroU16,
    /// Most requests a second to one host, such as 5 or 0.5
    #[arg(long, value_name = "N", value_parser = super::values::request_gap)]
    request_rate: Option<Duration>,
    /// Ask over HTTP/1.1 alone
    #[arg(long = "http1.1", value_parser = FalseyValueParser::new())]
    http1_1: bool,
    /// Keep journal and snapshot in DIR [default: .ringpull in the directory]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Write a line for every entry to FILE [default: results.jsonl beside the journal]
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Write the entries that failed to FILE, as a list for another run
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,
    /// Do not wait until the files are on disk
    #[arg(long, env = "RINGPULL_NO_SYNC", value_parser = FalseyValueParser::new())]
    no_sync: bool,
    /// Threads, 1 to 64 [default: one a core]
    #[arg(short, long, value_name = "N", env = "RINGPULL_THREADS")]
    #[arg(value_parser = super::values::threads)]
    threads: Option<NonZeroU16>,
    /// The kernel interface that moves the bytes [default: auto]
    #[arg(long, value_name = "WHICH", env = "RINGPULL_IO", value_parser = super::values::io())]
    io: Option<IoChoice>,
    /// Most bytes a second, of all entries together
    #[arg(long, value_name = "RATE", env = "RINGPULL_LIMIT_RATE")]
    #[arg(value_parser = super::values::rate)]
    limit_rate: Option<u64>,
    /// Refuse entries larger than SIZE
    #[arg(long, value_name = "SIZE", env = "RINGPULL_MAX_FILESIZE", value_parser = parse_size)]
    max_filesize: Option<u64>,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// A format that was named, or `auto`.
#[derive(Clone, Copy, Debug)]
struct Wanted(Option<Format>);

fn format(text: &str) -> Result<Wanted, String> {
    match text {
        "auto" => Ok(Wanted(None)),
        text => text.parse().map(|format| Wanted(Some(format))),
    }
}

fn verify() -> clap::builder::PossibleValuesParser {
    ["none", "sample", "all"].into()
}

fn dedupe() -> clap::builder::PossibleValuesParser {
    ["auto", "reflink", "hardlink"].into()
}

/// Runs it, until it is done or `stop` holds a signal, and returns the exit code.
pub(super) async fn run(args: &MirrorArgs, stop: Stop) -> u8 {
    let mut report = MirrorReport::new(&args.talk(), Output::standard());
    let order = match order(args, &mut report) {
        Ok(order) => order,
        Err(error) => {
            let exit_code = error.exit_code();
            report.failed(&error, exit_code);
            report.summary(None, exit_code);
            return exit_code;
        }
    };
    report.begin();
    let is_dry = order.dry_run;
    let mut mirror = mirror::start(order);
    let (counts, stopper) = (mirror.counts().clone(), mirror.stopper());
    if is_dry {
        let mut stop = stop.clone();
        loop {
            tokio::select! {
                biased;
                Ok(_) = stop.wait_for(Option::is_some), if !stopper.is_stopped() => stopper.stop(),
                action = mirror.next_action() => match action {
                    Some(action) => report.action(&action),
                    None => break,
                },
            }
        }
    }
    let mut tick = tokio::time::interval(TICK);
    let mut wait = pin!(mirror.wait());
    let mut signal = pin!(async {
        let mut stop = stop.clone();
        if stop.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
        stopper.stop();
        std::future::pending::<()>().await;
    });
    let result = loop {
        tokio::select! {
            biased;
            result = &mut wait => break result,
            () = &mut signal => {}
            _ = tick.tick() => report.sample(&counts, Instant::now()),
        }
    };
    report.drain(&counts);
    let signal = *stop.borrow();
    let exit_code = match &result {
        Ok(sealed) if is_dry || is_done(sealed) => 0,
        Ok(_) => Kind::Several.exit_code(),
        Err(error) if error.kind() == Kind::Interrupted => {
            signal.map_or_else(|| error.exit_code(), super::Signal::exit_code)
        }
        // The deadline of a job: the state is kept, and the next run goes on.
        Err(error) if error.kind() == Kind::TimedOut => RESUMABLE,
        Err(error) => error.exit_code(),
    };
    match &result {
        Ok(sealed) => report.sealed(sealed, is_dry),
        Err(error) => report.failed(error, exit_code),
    }
    report.summary(Some((&counts.standing(), result.as_ref().ok())), exit_code);
    exit_code
}

fn is_done(sealed: &Sealed) -> bool {
    sealed.standing.is_whole() && sealed.not_deleted.is_none()
}

/// The exit code of a run that was stopped by its time limit (EX_TEMPFAIL of sysexits.h).
const RESUMABLE: u8 = 75;

impl MirrorArgs {
    fn talk(&self) -> super::Style {
        super::style_of(&self.talk, false, terminal())
    }
}

/// What the arguments mean together.
fn order(args: &MirrorArgs, report: &mut MirrorReport) -> Result<Order> {
    let list = match args.list.as_str() {
        "-" => List::Stdin,
        text if is_address(text) => List::Url(addresses::parse(text)?),
        path => List::File(path.into()),
    };
    let shared = DownloadArgs {
        urls: Vec::new(),
        output: OutputArgs { no_sync: args.no_sync, ..OutputArgs::default() },
        transfer: TransferArgs {
            threads: args.threads,
            io: args.io,
            limit_rate: args.limit_rate,
            max_filesize: args.max_filesize,
            ..TransferArgs::default()
        },
        integrity: IntegrityArgs::default(),
        http: args.http.clone(),
        network: args.network.clone(),
        tls: args.tls.clone(),
        talk: args.talk.clone(),
    };
    let (options, notices) = config::shared_options(&shared, super::password()?.as_deref())?;
    notices.iter().for_each(|notice| report.remark(notice));
    let mut order = Order::new(list, args.dir.clone());
    order.base_url = args.base_url.as_deref().map(base).transpose()?;
    order.format = args.format.0;
    order.include.clone_from(&args.include);
    order.exclude.clone_from(&args.exclude);
    (order.delete, order.max_delete) = (args.delete, args.max_delete);
    order.verify = match args.verify.as_str() {
        "all" => Verify::All,
        "sample" => Verify::Sample,
        _ => Verify::None,
    };
    order.dedupe = args.dedupe.as_deref().map(|how| match how {
        "reflink" => Dedupe::Reflink,
        "hardlink" => Dedupe::Hardlink,
        _ => Dedupe::Auto,
    });
    order.dry_run = args.dry_run;
    (order.jobs, order.per_host) = (args.jobs, args.per_host);
    (order.http2, order.request_gap) = (!args.http1_1, args.request_rate);
    order.state.clone_from(&args.state);
    order.results.clone_from(&args.results);
    order.failures.clone_from(&args.failures);
    order.options = options;
    Ok(order)
}

fn is_address(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// A base that names a directory.
fn base(text: &str) -> Result<Url> {
    let mut url = addresses::parse(text)?;
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::new(Kind::Usage, "--base-url is neither http nor https"));
    }
    Ok(url)
}
