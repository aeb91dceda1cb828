//! Turns the command line into checked work: what the options mean together, and what they may not
//! mean.
//!
//! Not here: reading single values (`values`), running the work (`run`). Invariant: whatever is
//! refused here is refused before a byte moves, as [`Kind::Usage`] or as the failure of a file that
//! had to be read.

use std::path::PathBuf;

use url::Url;

use super::addresses;
use super::args::{DownloadArgs, OutputArgs};
use super::headers;
use super::secrets::{Login, Secrets};
use crate::error::{Error, Kind, Result};
use crate::options::{Connections, Options, Target, Write};
use crate::report::shown_url;
use crate::wire::{Client, Family};

/// Everything that one command line asks for.
#[derive(Debug)]
pub(crate) struct Work {
    /// One entry for each URL, in the order they were typed.
    pub(crate) items: Vec<Item>,
    /// Remarks for `--verbose`.
    pub(crate) notices: Vec<String>,
}

/// One file that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Where it is, without credentials and fragment.
    pub(crate) url: Url,
    /// Where it goes.
    pub(crate) target: Target,
    /// How.
    pub(crate) options: Options,
}

impl Work {
    /// Checks the command line; `password` is what RINGPULL_PASSWORD holds.
    ///
    /// # Errors
    /// [`Kind::Usage`] with the option at fault, or the failure to read the bearer file or a
    /// certificate.
    pub(crate) fn check(args: &DownloadArgs, password: Option<&str>) -> Result<Self> {
        check_together(args)?;
        let secrets = Secrets::read(&args.http, password)?;
        let mut notices = secrets.notices(&args.http);
        let shared = options(args, secrets.login())?;
        let target = target(&args.output);
        let mut items = Vec::with_capacity(args.urls.len());
        for text in &args.urls {
            let (url, login) = addresses::split_login(addresses::parse(text)?)?;
            let mut options = shared.clone();
            if let Some(login) = login {
                notices.push(format!(
                    "credentials in the URL of {} are sent as --user; other users can read them in \
                     the process list",
                    shown_url(&url)
                ));
                options.client = client(args, &login)?;
            }
            items.push(Item { url, target: target.clone(), options });
        }
        Ok(Self { items, notices })
    }
}

/// The options that all entries of a mirror share, and remarks for `--verbose`; `password` is what
/// RINGPULL_PASSWORD holds.
pub(super) fn shared_options(
    args: &DownloadArgs,
    password: Option<&str>,
) -> Result<(Options, Vec<String>)> {
    check_together(args)?;
    let secrets = Secrets::read(&args.http, password)?;
    Ok((options(args, secrets.login())?, secrets.notices(&args.http)))
}

/// Refuses options that contradict each other.
fn check_together(args: &DownloadArgs) -> Result<()> {
    let several = args.urls.len() > 1;
    if several && args.output.output.is_some() {
        return Err(usage("--output takes one URL; use --dir for several"));
    }
    if several && !args.transfer.alternate.is_empty() && args.integrity.checksum.is_none() {
        return Err(usage(
            "--alternate without --checksum takes one URL: it is another address of one file",
        ));
    }
    if args.network.ipv4 && args.network.ipv6 {
        return Err(usage("--ipv4 and --ipv6 exclude each other"));
    }
    let to_stream = args.output.output.as_deref().is_some_and(|path| path.as_os_str() == "-");
    let needs_file = match args.transfer.write {
        Some(Write::Mmap) => Some("mmap"),
        Some(Write::Direct) => Some("direct"),
        Some(Write::Buffered) => Some("buffered"),
        Some(Write::Auto | Write::Discard) | None => None,
    };
    match needs_file {
        Some(name) if to_stream => Err(usage(format!("--write {name} needs a file, not a stream"))),
        _ => Ok(()),
    }
}

/// Where everything goes. A directory named by --output is left to the engine, which looks at the
/// disk.
fn target(args: &OutputArgs) -> Target {
    match (&args.output, &args.dir) {
        (Some(file), _) if file.as_os_str() == "-" => Target::Stdout,
        (Some(file), Some(dir)) => Target::File(dir.join(file)),
        (Some(file), None) => Target::File(file.clone()),
        (None, Some(dir)) => Target::Dir(dir.clone()),
        (None, None) => Target::Dir(PathBuf::from(".")),
    }
}

fn options(args: &DownloadArgs, login: &Login) -> Result<Options> {
    let mut options = Options { client: client(args, login)?, ..Options::default() };
    let transfer = &args.transfer;
    options.connections = transfer.connections.unwrap_or(Connections::Auto);
    options.threads = transfer.threads;
    options.block_size = transfer.block_size.unwrap_or(options.block_size);
    options.write = transfer.write.unwrap_or_default();
    options.io = transfer.io.unwrap_or_default();
    options.alternates = addresses::alternates(&transfer.alternate)?;
    options.limit_rate = transfer.limit_rate;
    options.max_filesize = transfer.max_filesize;
    options.checksum = args.integrity.checksum.clone();
    options.assume_immutable = args.integrity.assume_immutable;
    options.overwrite = args.output.overwrite;
    options.restart = args.output.restart;
    options.content_disposition = args.output.content_disposition;
    options.sync = !args.output.no_sync;
    options.retries = args.network.retries.unwrap_or(options.retries);
    options.stall_timeout = args.network.stall_timeout.unwrap_or(options.stall_timeout);
    options.max_time = args.network.max_time;
    Ok(options)
}

/// The client of the URLs that share one login.
fn client(args: &DownloadArgs, login: &Login) -> Result<Client> {
    let (http, network, tls) = (&args.http, &args.network, &args.tls);
    let mut builder = Client::builder().https_only(http.https_only).insecure(tls.insecure);
    for text in &http.header {
        let (name, value) = headers::parse(text)?;
        builder = builder.header(name, value);
    }
    if let Some(text) = &http.user_agent {
        builder = builder.user_agent(headers::value("--user-agent", text)?);
    }
    builder = match login {
        Login::Anonymous => builder,
        Login::Basic { user, password } => builder.basic_auth(user, password),
        Login::Bearer(token) => builder.bearer(token),
    };
    if let Some(count) = http.max_redirs {
        builder = builder.max_redirects(count);
    }
    if let Some(time) = network.connect_timeout {
        builder = builder.connect_timeout(time);
    }
    if network.ipv4 {
        builder = builder.family(Family::V4);
    }
    if network.ipv6 {
        builder = builder.family(Family::V6);
    }
    for pinned in &network.resolve {
        builder = builder.resolve(&pinned.host, pinned.port, pinned.addresses.clone());
    }
    if let Some(path) = &tls.cacert {
        builder = builder.root_certificates(path.clone());
    }
    if let Some(cert) = &tls.cert {
        let key = tls.key.as_ref().unwrap_or(cert);
        builder = builder.client_certificate(cert.clone(), key.clone());
    }
    builder.build()
}

/// A refusal of the command line.
pub(super) fn usage(message: impl Into<String>) -> Error {
    Error::new(Kind::Usage, message)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;
    use crate::cli::args::Args;
    use crate::limits;

    fn check(argv: &[&str]) -> Result<Work> {
        let argv = ["ringpull"].iter().chain(argv).map(OsString::from);
        Work::check(&Args::read(argv).unwrap().download, None)
    }

    fn target_of(argv: &[&str]) -> Target {
        check(&[argv, &["http://h/f"]].concat()).unwrap().items[0].target.clone()
    }

    fn refusal(argv: &[&str]) -> String {
        let error = check(argv).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    #[test]
    fn output_and_dir_combine_like_output_dir_of_curl() {
        assert_eq!(target_of(&[]), Target::Dir(".".into()));
        assert_eq!(target_of(&["-d", "x"]), Target::Dir("x".into()));
        assert_eq!(target_of(&["-o", "y"]), Target::File("y".into()));
        assert_eq!(target_of(&["-o", "y", "-d", "x"]), Target::File(Path::new("x").join("y")));
        assert_eq!(target_of(&["-o", "-", "-d", "x"]), Target::Stdout);
        assert_eq!(target_of(&["-o", "./-"]), Target::File("./-".into()));
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let two = ["http://h/a", "http://h/b"];
        for (argv, word) in [
            (vec!["-o", "f"], "--output"),
            (vec!["-o", "-"], "--output"),
            (vec!["--alternate", "http://g/a"], "--alternate"),
        ] {
            assert!(refusal(&[&argv[..], &two].concat()).contains(word));
        }
        for name in ["mmap", "direct", "buffered"] {
            let said = refusal(&["-w", name, "-o", "-", "http://h/f"]);
            assert_eq!(said, format!("--write {name} needs a file, not a stream"));
        }
        assert!(refusal(&["-4", "-6", "http://h/f"]).contains("--ipv6"));
        assert!(Args::read(["ringpull", "-o", "", "http://h/f"].map(OsString::from)).is_err());
        check(&["-d", "x", two[0], two[1]]).unwrap();
        check(&["--alternate", "http://g/a", two[0]]).unwrap();
    }

    #[test]
    fn what_is_not_said_stays_at_its_default() {
        let options = check(&["http://h/f"]).unwrap().items.remove(0).options;
        assert_eq!(options.block_size, limits::BLOCK_SIZE_DEFAULT);
        assert_eq!((options.retries, options.sync), (limits::RETRIES_DEFAULT, true));
        assert_eq!(options.connections, Connections::Auto);
    }

    #[test]
    fn what_is_said_reaches_the_options() {
        let argv = "-c 9 -t 3 -b 64k -w mmap --io epoll --limit-rate 1M --max-filesize 2G \
             --assume-immutable --overwrite --restart --content-disposition --no-sync --retries 0 \
             --stall-timeout 1.5 --max-time 60 http://h/f";
        let options =
            check(&argv.split_whitespace().collect::<Vec<_>>()).unwrap().items.remove(0).options;
        assert_eq!(options.connections, Connections::exactly(9));
        assert_eq!(options.threads.map(|threads| threads.get()), Some(3));
        assert_eq!((options.block_size, options.write), (64 << 10, Write::Mmap));
        assert_eq!((options.limit_rate, options.max_filesize), (Some(1 << 20), Some(2 << 30)));
        assert!(
            options.assume_immutable
                && options.overwrite
                && options.restart
                && options.content_disposition
        );
        assert_eq!((options.sync, options.retries), (false, 0));
        assert_eq!(options.stall_timeout.as_millis(), 1500);
        assert_eq!(options.max_time.map(|time| time.as_secs()), Some(60));
    }

    #[test]
    fn credentials_leave_the_url() {
        let work = check(&["http://me:s3cret@h/f#part", "http://h/g"]).unwrap();
        assert_eq!(work.items[0].url.as_str(), "http://h/f");
        assert_eq!(work.notices.len(), 1);
        assert!(!work.notices[0].contains("s3cret"), "{:?}", work.notices);
    }
}
