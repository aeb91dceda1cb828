//! What stands on the command line and in the `RINGPULL_*` variables, as text turned into values
//! and no further.
//!
//! Not here: what the values mean together; that is `config`. Parsing reads no file, opens no
//! socket and prints nothing.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::mirror::MirrorArgs;
use super::values::{self, Pinned};
use crate::digest::Checksum;
use crate::options::{Connections, IoChoice, Write};
use crate::report::Progress;
use crate::units::{parse_seconds, parse_size};

/// The whole command line.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "ringpull",
    version,
    about = "Downloads files over HTTP(S) as fast as the machine allows, every byte checked and on disk",
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    arg_required_else_help = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) download: DownloadArgs,
}

/// What ringpull does besides downloading.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring a directory in line with a list
    Mirror(Box<MirrorArgs>),
    /// Serve a directory over HTTP, with ranges
    Serve(ServeArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell to complete for
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// The options of a download, grouped as `--help` shows them.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DownloadArgs {
    /// What to download, one file each
    #[arg(value_name = "URL", required = true)]
    pub(crate) urls: Vec<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
    #[command(flatten)]
    pub(crate) integrity: IntegrityArgs,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// Where the bytes go.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Write to FILE; `-` is standard output
    #[arg(short, long, value_name = "FILE", env = "RINGPULL_OUTPUT")]
    pub(crate) output: Option<PathBuf>,
    /// Write into DIR; combined with --output, FILE is taken below DIR
    #[arg(short, long, value_name = "DIR", env = "RINGPULL_DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Take the file name that the server suggests
    #[arg(long, env = "RINGPULL_CONTENT_DISPOSITION", value_parser = FalseyValueParser::new())]
    pub(crate) content_disposition: bool,
    /// Replace a file that is already there
    #[arg(long, env = "RINGPULL_OVERWRITE", value_parser = FalseyValueParser::new())]
    pub(crate) overwrite: bool,
    /// Forget what an interrupted run has left, and start from the first byte
    #[arg(long, env = "RINGPULL_RESTART", value_parser = FalseyValueParser::new())]
    pub(crate) restart: bool,
    /// Do not wait until the file is on disk
    #[arg(long, env = "RINGPULL_NO_SYNC", value_parser = FalseyValueParser::new())]
    pub(crate) no_sync: bool,
}

/// How the bytes move.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Transfer")]
pub(crate) struct TransferArgs {
    /// Connections, 1 to 256 [default: auto]
    #[arg(short, long, value_name = "N|auto", env = "RINGPULL_CONNECTIONS")]
    #[arg(value_parser = values::connections)]
    pub(crate) connections: Option<Connections>,
    /// Threads, 1 to 64 [default: one a core]
    #[arg(short, long, value_name = "N", env = "RINGPULL_THREADS", value_parser = values::threads)]
    pub(crate) threads: Option<NonZeroU16>,
    /// Unit of memory, disk write and retry: a power of two from 4k to 64M [default: 1M]
    #[arg(short, long, value_name = "SIZE", env = "RINGPULL_BLOCK_SIZE")]
    #[arg(value_parser = values::block_size)]
    pub(crate) block_size: Option<u64>,
    /// How bytes reach the file [default: auto]
    #[arg(short, long, value_name = "HOW", env = "RINGPULL_WRITE", value_parser = values::write())]
    pub(crate) write: Option<Write>,
    /// The kernel interface that moves the bytes [default: auto]
    #[arg(long, value_name = "WHICH", env = "RINGPULL_IO", value_parser = values::io())]
    pub(crate) io: Option<IoChoice>,
    /// Another address of the same file (repeatable)
    #[arg(long, value_name = "URL", env = "RINGPULL_ALTERNATE")]
    pub(crate) alternate: Vec<String>,
    /// Most bytes a second, over all connections
    #[arg(long, value_name = "RATE", env = "RINGPULL_LIMIT_RATE", value_parser = values::rate)]
    pub(crate) limit_rate: Option<u64>,
    /// Refuse a file larger than SIZE
    #[arg(long, value_name = "SIZE", env = "RINGPULL_MAX_FILESIZE", value_parser = parse_size)]
    pub(crate) max_filesize: Option<u64>,
}

/// What makes the bytes trustworthy.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Integrity")]
pub(crate) struct IntegrityArgs {
    /// The digest the file must have: sha256, sha512, blake3, sha1 or md5
    #[arg(long, value_name = "ALGO=HEX", env = "RINGPULL_CHECKSUM", value_parser = values::checksum)]
    pub(crate) checksum: Option<Checksum>,
    /// Fetch ranges in parallel although nothing ties them to one version of the file
    #[arg(long, env = "RINGPULL_ASSUME_IMMUTABLE", value_parser = FalseyValueParser::new())]
    pub(crate) assume_immutable: bool,
}

/// What the requests say.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct HttpArgs {
    /// Add a header field to every request (repeatable)
    #[arg(
        short = 'H',
        long,
        value_name = "NAME: VALUE",
        env = "RINGPULL_HEADER",
        hide_env_values = true
    )]
    pub(crate) header: Vec<String>,
    /// Set the User-Agent
    #[arg(short = 'A', long, value_name = "TEXT", env = "RINGPULL_USER_AGENT")]
    pub(crate) user_agent: Option<String>,
    /// Credentials; without `:PASS` the password comes from RINGPULL_PASSWORD
    #[arg(short, long, value_name = "USER:PASS", env = "RINGPULL_USER", hide_env_values = true)]
    pub(crate) user: Option<String>,
    /// Read a bearer token from FILE
    #[arg(long, value_name = "FILE", env = "RINGPULL_BEARER_FILE", hide_env_values = true)]
    pub(crate) bearer_file: Option<PathBuf>,
    /// Follow at most N redirects [default: 20]
    #[arg(long, value_name = "N", env = "RINGPULL_MAX_REDIRS")]
    pub(crate) max_redirs: Option<u32>,
    /// Refuse plain HTTP, also in redirects
    #[arg(long, env = "RINGPULL_HTTPS_ONLY", value_parser = FalseyValueParser::new())]
    pub(crate) https_only: bool,
    /// Whether the user or a header field was typed, where other users of the machine can read it.
    #[arg(skip)]
    pub(crate) typed: Typed,
}

/// Which options that may hold a secret stood on the command line itself, not in the environment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Typed {
    pub(crate) user: bool,
    pub(crate) header: bool,
}

/// Which way the bytes come, and how patiently.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Use IPv4 only
    #[arg(short = '4', long, env = "RINGPULL_IPV4", value_parser = FalseyValueParser::new())]
    pub(crate) ipv4: bool,
    /// Use IPv6 only
    #[arg(short = '6', long, env = "RINGPULL_IPV6", value_parser = FalseyValueParser::new())]
    pub(crate) ipv6: bool,
    /// Take these addresses for HOST and PORT instead of asking the resolver (repeatable)
    #[arg(
        long,
        value_name = "HOST:PORT:ADDR[,ADDR]",
        env = "RINGPULL_RESOLVE",
        value_parser = values::pinned
    )]
    pub(crate) resolve: Vec<Pinned>,
    /// Time to connect, TLS included [default: 20]
    #[arg(long, value_name = "S", env = "RINGPULL_CONNECT_TIMEOUT", value_parser = parse_seconds)]
    pub(crate) connect_timeout: Option<Duration>,
    /// Time without a byte before a connection is given up [default: 30]
    #[arg(long, value_name = "S", env = "RINGPULL_STALL_TIMEOUT", value_parser = parse_seconds)]
    pub(crate) stall_timeout: Option<Duration>,
    /// Time that the transfer of one file may take
    #[arg(long, value_name = "S", env = "RINGPULL_MAX_TIME", value_parser = parse_seconds)]
    pub(crate) max_time: Option<Duration>,
    /// Attempts after a failure while nothing moves [default: 8]
    #[arg(long, value_name = "N", env = "RINGPULL_RETRIES")]
    pub(crate) retries: Option<u32>,
}

/// Whom to trust.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArgs {
    /// Trust the certificates in FILE (PEM) instead of the system's
    #[arg(long, value_name = "FILE", env = "RINGPULL_CACERT")]
    pub(crate) cacert: Option<PathBuf>,
    /// Show this client certificate (PEM)
    #[arg(long, value_name = "FILE", env = "RINGPULL_CERT")]
    pub(crate) cert: Option<PathBuf>,
    /// The key of --cert (PEM), if it is not in the same file
    #[arg(long, value_name = "FILE", env = "RINGPULL_KEY", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Accept any certificate: whoever is in between can read and change everything
    #[arg(short = 'k', long, env = "RINGPULL_INSECURE", value_parser = FalseyValueParser::new())]
    pub(crate) insecure: bool,
}

/// What to tell while it runs.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Talk")]
pub(crate) struct TalkArgs {
    /// Say nothing but errors
    #[arg(short, long, env = "RINGPULL_QUIET", value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,
    /// Say more, and the causes of errors
    #[arg(short, long, env = "RINGPULL_VERBOSE", value_parser = FalseyValueParser::new())]
    pub(crate) verbose: bool,
    /// How to show progress
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto", env = "RINGPULL_PROGRESS")]
    pub(crate) progress: Progress,
    /// Write one JSON object a line to standard output
    #[arg(long, env = "RINGPULL_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

/// The options of `ringpull serve`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The directory to serve
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Listen on this address; port 0 picks a free one (repeatable)
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8000")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Serve HTTPS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The key of --cert (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// The TCP congestion control of the connections
    #[arg(long, value_name = "NAME", default_value = "cubic")]
    pub(crate) tcp_congestion: String,
}

impl Args {
    /// Reads the command line, program name first, and the environment.
    ///
    /// # Errors
    /// What clap says, which includes the texts of `--help` and `--version`.
    pub(crate) fn read(argv: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(argv)?;
        let mut args = Self::from_arg_matches(&matches)?;
        if args.command.is_none() {
            args.download.http.typed =
                Typed { user: is_typed(&matches, "user"), header: is_typed(&matches, "header") };
        }
        Ok(args)
    }
}

fn is_typed(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

const EXAMPLES: &str = "\
Examples:
  ringpull https://example.com/file.iso
  ringpull -d images --checksum sha256=HEX https://example.com/file.iso
  ringpull -c 16 -u me https://example.com/a.bin https://example.com/b.bin
  ringpull -o - https://example.com/backup.tar | tar x

Every option can be set in the environment, such as RINGPULL_CONNECTIONS=8.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_option_of_a_download_has_its_variable() {
        for arg in Args::command().get_arguments() {
            let Some(long) = arg.get_long().filter(|long| !["help", "version"].contains(long))
            else {
                continue;
            };
            let variable = format!("RINGPULL_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env(), Some(variable.as_ref()), "--{long}");
            assert!(arg.get_help_heading().is_some(), "--{long} stands in no group");
        }
    }

    #[test]
    fn secrets_in_the_environment_stay_out_of_the_help() {
        let command = Args::command();
        for id in ["user", "bearer_file", "header"] {
            let arg = command.get_arguments().find(|arg| arg.get_id() == id).unwrap();
            assert!(arg.is_hide_env_values_set(), "{id}");
        }
    }

    #[test]
    fn serve_is_a_command_and_an_address_is_a_download() {
        let read = |argv: &[&str]| Args::read(argv.iter().map(|arg| OsString::from(*arg)));
        assert!(matches!(read(&["ringpull", "serve"]).unwrap().command, Some(Command::Serve(_))));
        let args = read(&["ringpull", "-u", "me", "http://h/serve"]).unwrap();
        assert!(args.command.is_none());
        assert_eq!((args.download.http.typed.user, args.download.http.typed.header), (true, false));
        assert!(read(&["ringpull", "-q"]).is_err());
    }

    #[test]
    fn the_last_of_a_repeated_option_counts() {
        let argv = ["ringpull", "-c", "2", "-c", "9", "http://h/f"];
        let args = Args::read(argv.into_iter().map(OsString::from)).unwrap();
        assert_eq!(args.download.transfer.connections, Some(Connections::exactly(9)));
    }
}
