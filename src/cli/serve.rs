//! `ringpull serve`: starts the server, says where it listens, and waits for a signal.

use std::time::Duration;

use super::args::ServeArgs;
use super::run::Stop;
use crate::error::{Escaped, Result};
use crate::report::Output;
use crate::serve::{Options, Server};

/// Serves until `stop` holds a signal.
pub(super) async fn run(args: &ServeArgs, output: &mut Output, mut stop: Stop) -> Result<()> {
    let options = Options {
        dir: args.dir.clone(),
        listen: args.listen.clone(),
        tls: args.cert.clone().zip(args.key.clone()),
        congestion: Some(args.tcp_congestion.clone()),
        keep_alive: KEEP_ALIVE,
    };
    let server = Server::start(&options)?;
    for notice in server.notices() {
        output.line(&format!("ringpull: note: {}", Escaped(&notice)));
    }
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let dir = args.dir.to_string_lossy();
    for address in server.addresses() {
        output.answer(&format!("serving {} on {scheme}://{address}/", Escaped(&dir)));
    }
    // The sender lives in `main` and ends with the process; without one there is nothing to wait
    // for.
    let _ = stop.wait_for(Option::is_some).await;
    server.stop(GRACE);
    Ok(())
}

/// Time an idle connection is kept, as nginx has it.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Time for running answers after a signal: less than the two seconds in which a signal ends the
/// program.
const GRACE: Duration = Duration::from_secs(1);
