//! A mirror from the real nginx over HTTP/2; skipped where there is no nginx.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::runner::Place;
use super::{files, sha256};
use crate::origin::{Certificate, File};
use crate::ways::backends;

/// Everything in one directory. A connection ends after some dozen requests, and takes few at a time. What
/// takes over sockets has to have a master.
const CONFIG: &str =
    "daemon off; user root; worker_processes 1; pid nginx.pid; error_log stderr error;
events { }
http {
  log_format seen '$server_protocol $status $connection $http_range $uri';
  access_log access.log seen;
  client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp;
  scgi_temp_path temp;
  keepalive_requests 40;
  server {
    listen 127.0.0.1:PORT ssl http2;
    ssl_certificate chain.pem; ssl_certificate_key key.pem;
    http2_max_concurrent_streams 5;
    root www;
  }
}
";

/// The server at work. Dropping it ends it.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        // That ends those below it too, at once.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Starts nginx in a place, over the directory `www` there; `None` if there is none.
///
/// It gets a listening socket on standard input, and takes it over as it does from one that it replaces: so
/// there is no time at which nobody listens.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn nginx(place: &Place) -> Option<(Nginx, u16)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Of a socket that it takes over it expects so.
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    place.put("nginx.conf", CONFIG.replace("PORT", &port.to_string()));
    let mut command = place.furnish(Command::new("nginx"));
    command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(place.path("")).env("NGINX", "0;");
    command.env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin");
    command.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => Some((Nginx(child), port)),
        Err(error) => {
            eprintln!("skipped: nginx does not start: {error}");
            None
        }
    }
}

#[test]
fn nginx_is_mirrored_over_http_2_and_large_entries_over_http_1_1() {
    let mut files = files(250);
    files.push(("large".to_owned(), File::new((9 << 20) + 77).seed(99)));
    let certificate = Certificate::valid_for("localhost");
    let place = Place::new();
    place.put("ca.pem", &certificate.authority_pem);
    place.put("chain.pem", &certificate.chain_pem).put("key.pem", &certificate.key_pem);
    for (path, file) in &files {
        place.put(&format!("www/{path}"), file.whole());
    }
    let Some((_nginx, port)) = nginx(&place) else { return };
    let line = |(path, file): &(String, File)| {
        format!("https://localhost:{port}/{path}\t{path}\t{}\n", sha256(file))
    };
    let lines: String = files.iter().map(line).collect();
    place.put("list.tsv", format!("url\tpath\tsha256\n{lines}"));
    let seen = || std::fs::read_to_string(place.path("access.log")).unwrap_or_default();
    for io in backends() {
        let _ = std::fs::remove_dir_all(place.tree(""));
        let args = ["list.tsv", "--cacert", "ca.pem", "--io", io, "--threads", "2"];
        place.run(&args).assert_ends(0, &[("fetched", 251), ("failed", 0)]);
        place.assert_holds(&files);
    }
    place.wait_until(|| {
        seen().lines().filter(|line| line.starts_with("HTTP/2.0 200")).count() >= 500
    });
    let seen = seen();
    let over = |version: &str| -> Vec<Vec<&str>> {
        let lines = seen.lines().filter(|line| line.starts_with(version));
        lines.map(|line| line.split(' ').collect()).collect()
    };
    let mut connections: Vec<_> = over("HTTP/2.0").iter().map(|line| line[2]).collect();
    connections.sort_unstable();
    connections.dedup();
    assert!(connections.len() < 60, "{} connections", connections.len());
    let older = over("HTTP/1.1");
    assert!(older.len() > 1 && older.iter().all(|line| line.last() == Some(&"/large")), "{seen}");
}
