//! Directory indexes in the form of each server that people meet, walked to their end: names that need
//! escapes, links that sort, links to what is above, empty directories.
//!
//! The pages have the shape, the order and the escapes of those that the servers write; what only decorates
//! is left out.

use std::collections::{BTreeMap, BTreeSet};

use super::runner::Place;
use crate::origin::{Body, File, Origin, Reply};

/// A directory: its path, the directories in it, the files in it.
type Directory = (&'static str, &'static [&'static str], &'static [&'static str]);

const DIRECTORIES: [Directory; 5] = [
    (
        "",
        &["R&D", "a b", "empty"],
        &[
            "<b>bold.bin",
            "c#d%3F.bin",
            "col:on.bin",
            "it's \"q\".bin",
            "plain.bin",
            "semi;colon+plus=eq,.bin",
            "x&y.bin",
            "über.bin",
        ],
    ),
    ("R&D/", &[], &["&amp;.bin"]),
    ("a b/", &["déjà"], &["in ner.bin"]),
    ("a b/déjà/", &[], &["vu [1].bin", "zero"]),
    ("empty/", &[], &[]),
];

/// How a server writes an index.
struct Server {
    kind: &'static str,
    /// Marks that it leaves as they are in an address, beside letters and digits.
    keeps: &'static str,
    has_small_digits: bool,
    /// The page of a directory, from its path below the root, the address above, and name and address of
    /// each link.
    page: fn(&str, &str, &[(String, String)]) -> String,
    is_chunked: bool,
}

impl Server {
    fn encode(&self, name: &str) -> String {
        let one = |byte: u8| match char::from(byte) {
            kept if kept.is_ascii_alphanumeric() || self.keeps.contains(kept) => kept.to_string(),
            _ if self.has_small_digits => format!("%{byte:02x}"),
            _ => format!("%{byte:02X}"),
        };
        name.bytes().map(one).collect()
    }

    fn path(&self, path: &str) -> String {
        path.split('/').map(|name| self.encode(name)).collect::<Vec<_>>().join("/")
    }

    fn reply(&self, page: String) -> Reply {
        let length = page.len().to_string();
        let reply = Reply::status("200 OK").set("Content-Length", &length);
        let reply = reply.set("Content-Type", self.kind).body(Body::Bytes(page.into_bytes()));
        if self.is_chunked { reply.chunked(&[1000, 3]) } else { reply }
    }

    /// Serves the directories and their files, and tells which addresses there are.
    fn origin(&self, files: &[(String, File)]) -> (Origin, BTreeSet<String>) {
        let (mut origin, mut addresses) = (Origin::new(), BTreeSet::new());
        for (path, directories, names) in DIRECTORIES {
            let above = path.trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above);
            let above = match (path, above) {
                ("", _) => "/".to_owned(),
                (_, "") => "/pub/".to_owned(),
                _ => format!("/pub/{}/", self.path(above)),
            };
            let directories = directories.iter().map(|name| format!("{name}/"));
            let all = directories.chain(names.iter().map(|name| (*name).to_owned()));
            let links: Vec<_> = all.map(|name| (name.clone(), self.path(&name))).collect();
            let address = format!("/pub/{}", self.path(path));
            let reply = self.reply((self.page)(&format!("/pub/{path}"), &above, &links));
            origin = origin.at(&address, move |_| reply.clone());
            addresses.insert(address);
        }
        for (path, file) in files {
            let address = format!("/pub/{}", self.path(path));
            origin = origin.file(&address, *file);
            addresses.insert(address);
        }
        (origin, addresses)
    }

    /// Walks all of it twice; `again` is the number of requests of the second run.
    fn assert_walked(&self, again: usize) {
        let files = wanted();
        let (origin, addresses) = self.origin(&files);
        let origin = origin.start();
        let place = Place::new();
        place.put("tree/stays", "mine");
        let url = origin.url("/pub/");
        let first = place.run(&[url.as_str()]);
        first.assert_ends(0, &[("fetched", files.len() as u64), ("bad_lines", 0)]);
        let mut all = files.clone();
        std::fs::remove_file(place.tree("stays")).unwrap();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        place.assert_holds(&all);
        let asked: BTreeSet<_> = origin.log().into_iter().map(|request| request.path).collect();
        assert_eq!(asked, addresses, "nothing above, beside, or sorted");
        assert_eq!(origin.log().len(), addresses.len(), "each once");
        let before = place.names();
        let second = place.run(&[url.as_str(), "--delete"]);
        second.assert_ends(0, &[("unchanged", files.len() as u64), ("deleted", 0)]);
        assert_eq!(origin.log().len() - addresses.len(), again);
        assert_eq!(place.names(), before);
    }
}

fn wanted() -> Vec<(String, File)> {
    let mut files = Vec::new();
    for (path, _, names) in DIRECTORIES {
        for name in names {
            let size = if *name == "zero" { 0 } else { 100 + files.len() as u64 };
            files.push((format!("{path}{name}"), File::new(size).seed(files.len() as u64)));
        }
    }
    files
}

/// Pages and files: one question each, unless the index tells size and date.
const PAGES: usize = DIRECTORIES.len();
const FILES: usize = 12;

/// Text as most servers write it into a page.
fn text(raw: &str) -> String {
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn quoted(raw: &str) -> String {
    text(raw).replace('"', "&quot;")
}

/// A name with a colon would look like a scheme.
fn guarded(address: &str) -> String {
    if address.contains(':') { format!("./{address}") } else { address.to_owned() }
}

const APACHE_KEEPS: &str = "$-_.+!*'(),:@&=~;";

fn apache_head(path: &str) -> String {
    let path = text(path.trim_end_matches('/'));
    format!(
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">\n\
         <html>\n <head>\n  <title>Index of {path}</title>\n </head>\n <body>\n<h1>Index of {path}</h1>\n"
    )
}

const APACHE_FOOT: &str =
    "<address>Apache/2.4.71 (Debian) Server at 127.0.0.1 Port 80</address>\n</body></html>\n";

#[test]
fn apache_with_a_table() {
    let page = |path: &str, above: &str, links: &[(String, String)]| {
        let sort =
            |column, order, name| format!("<th><a href=\"?C={column};O={order}\">{name}</a></th>");
        let row = |address: &str, name: &str| {
            format!(
                "<tr><td valign=\"top\"><img src=\"/icons/unknown.gif\" alt=\"[   ]\"></td><td>\
                 <a href=\"{address}\">{name}</a></td><td align=\"right\">2026-11-23 05:12  </td>\
                 <td align=\"right\">1.2K</td><td>&nbsp;</td></tr>\n"
            )
        };
        let rows = links.iter().map(|(name, url)| row(&text(&guarded(url)), &quoted(name)));
        format!(
            "{}  <table>\n   <tr><th valign=\"top\"><img src=\"/icons/blank.gif\" alt=\"[ICO]\"></th>\
             {}{}{}{}</tr>\n   <tr><th colspan=\"5\"><hr></th></tr>\n{}{}\
             <tr><th colspan=\"5\"><hr></th></tr>\n</table>\n{APACHE_FOOT}",
            apache_head(path),
            sort("N", "D", "Name"),
            sort("M", "A", "Last modified"),
            sort("S", "A", "Size"),
            sort("D", "A", "Description"),
            row(above, "Parent Directory"),
            rows.collect::<String>()
        )
    };
    let (kind, keeps) = ("text/html;charset=UTF-8", APACHE_KEEPS);
    let server = Server { kind, keeps, has_small_digits: true, page, is_chunked: false };
    server.assert_walked(PAGES + FILES);
}

#[test]
fn apache_with_a_text() {
    let page = |path: &str, above: &str, links: &[(String, String)]| {
        let row = |(name, url): &(String, String)| {
            let url = text(&guarded(url));
            format!("      <a href=\"{url}\">{}</a>   2026-11-23 05:12    1   \n", quoted(name))
        };
        format!(
            "{}<pre>      <a href=\"?C=N;O=D\">Name</a>                    \
             <a href=\"?C=M;O=A\">Last modified</a>      <a href=\"?C=S;O=A\">Size</a>  \
             <a href=\"?C=D;O=A\">Description</a><hr>      \
             <a href=\"{above}\">Parent Directory</a>                             -   \n{}<hr></pre>\n\
             {APACHE_FOOT}",
            apache_head(path),
            links.iter().map(row).collect::<String>()
        )
    };
    let (kind, keeps) = ("text/html;charset=ISO-8859-1", APACHE_KEEPS);
    let server = Server { kind, keeps, has_small_digits: true, page, is_chunked: false };
    server.assert_walked(PAGES + FILES);
}

#[test]
fn apache_with_a_plain_list() {
    let page = |path: &str, above: &str, links: &[(String, String)]| {
        let row = |(name, url): &(String, String)| {
            format!("<li><a href=\"{}\"> {}</a></li>\n", text(&guarded(url)), quoted(name))
        };
        format!(
            "{}<ul><li><a href=\"{above}\"> Parent Directory</a></li>\n{}</ul>\n{APACHE_FOOT}",
            apache_head(path),
            links.iter().map(row).collect::<String>()
        )
    };
    let (kind, keeps) = ("text/html;charset=ISO-8859-1", APACHE_KEEPS);
    let server = Server { kind, keeps, has_small_digits: true, page, is_chunked: false };
    server.assert_walked(PAGES + FILES);
}

#[test]
fn lighttpd() {
    let page = |path: &str, _: &str, links: &[(String, String)]| {
        let text = |raw: &str| {
            let escape = |char: char| match char {
                '<' | '>' | '&' | '\'' | '"' => format!("&#x{:02X};", u32::from(char)),
                _ => char.to_string(),
            };
            raw.chars().map(escape).collect::<String>()
        };
        let row = |(name, url): &(String, String)| {
            let (class, slash) = if name.ends_with('/') { (" class=\"d\"", "/") } else { ("", "") };
            format!(
                "<tr{class}><td class=\"n\"><a href=\"{url}\">{}</a>{slash}</td>\
                 <td class=\"m\">2026-Nov-23 05:12:01</td><td class=\"s\">0.1K</td>\
                 <td class=\"t\">application/octet-stream</td></tr>\n",
                text(name.trim_end_matches('/'))
            )
        };
        let path = text(path);
        format!(
            "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>Index of {path}</title>\n\
             <style type=\"text/css\">\na, a:active {{text-decoration: none;}}\n</style>\n</head>\n<body>\n\
             <h2>Index of {path}</h2>\n<div class=\"list\">\n\
             <table summary=\"Directory Listing\" cellpadding=\"0\" cellspacing=\"0\">\n\
             <thead><tr><th class=\"n\">Name</th><th class=\"m\">Last Modified</th></tr></thead>\n<tbody>\n\
             <tr class=\"d\"><td class=\"n\"><a href=\"../\">..</a>/</td><td class=\"m\">&nbsp;</td></tr>\n\
             {}</tbody>\n</table>\n</div>\n<div class=\"foot\">lighttpd/1.4.69</div>\n\n\
             <script type=\"text/javascript\">\n// <!--\nlink.setAttribute(\"href\", \"#\");\n\
             // -->\n</script>\n</body>\n</html>\n",
            links.iter().map(row).collect::<String>()
        )
    };
    let kind = "text/html;charset=utf-8";
    let server = Server { kind, keeps: "-._~", has_small_digits: false, page, is_chunked: false };
    server.assert_walked(PAGES + FILES);
}

#[test]
fn caddy() {
    let page = |path: &str, _: &str, links: &[(String, String)]| {
        let quoted = |raw: &str| text(raw).replace('"', "&#34;").replace('\'', "&#39;");
        let names: Vec<_> = path.trim_matches('/').split('/').collect();
        let crumb = |(at, name): (usize, &&str)| {
            format!("<a href=\"{}\">{}</a>/", "../".repeat(names.len() - 1 - at), quoted(name))
        };
        let sort = |by, order, shown| {
            format!("<th>\n<a\n href=\"?sort={by}&order={order}\">{shown}</a>\n</th>\n")
        };
        let row = |(name, url): &(String, String)| {
            format!(
                "<tr class=\"file\">\n<td></td>\n<td>\n<a href=\"./{}\">\n\
                 <svg width=\"1.5em\"><use xlink:href=\"#folder\"></use></svg>\n\
                 <span class=\"name\">{}</span>\n</a>\n</td>\n<td data-order=\"-1\">&mdash;</td>\n</tr>\n",
                text(url),
                quoted(name)
            )
        };
        let icon = "<svg><use xlink:href=\"#up-arrow\"></use></svg>";
        format!(
            "<!DOCTYPE html>\n<html>\n\n<head>\n    <title>{}</title>\n</head>\n\n\
             <body onload='initFilter()'>\n<header>\n<h1>\n<a href=\"{}\">/</a>{}\n</h1>\n</header>\n<main>\n\
             <table aria-describedby=\"summary\">\n<thead>\n<tr>\n<th></th>\n{}{}{}</tr>\n</thead>\n<tbody>\n\
             <tr>\n<td></td>\n<td>\n<a href=\"..\">\n<span class=\"goup\">Go up</span>\n</a>\n</td>\n</tr>\n\
             {}</tbody>\n</table>\n</main>\n<footer>\nServed with \
             <a rel=\"noopener noreferrer\" href=\"https://caddyserver.com\">Caddy</a>\n</footer>\n<script>\n\
             function initFilter() {{ if (1 < 2) {{ return; }} }}\n</script>\n</body>\n\n</html>\n",
            quoted(names[names.len() - 1]),
            "../".repeat(names.len()),
            names.iter().enumerate().map(crumb).collect::<String>(),
            sort("namedirfirst", "desc", icon),
            sort("name", "asc", "Name"),
            sort("size", "asc", "Size"),
            links.iter().map(row).collect::<String>()
        )
    };
    let (kind, keeps) = ("text/html; charset=utf-8", "-._~$&+,:;=@");
    let server = Server { kind, keeps, has_small_digits: false, page, is_chunked: true };
    server.assert_walked(PAGES + FILES);
}

#[test]
fn the_server_that_comes_with_python() {
    let page = |path: &str, _: &str, links: &[(String, String)]| {
        let row = |(name, url): &(String, String)| {
            format!("<li><a href=\"{url}\">{}</a></li>\n", text(name))
        };
        let path = text(path);
        format!(
            "<!DOCTYPE HTML>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <title>Directory listing for {path}</title>\n</head>\n<body>\n\
             <h1>Directory listing for {path}</h1>\n<hr>\n<ul>\n{}</ul>\n<hr>\n</body>\n</html>\n",
            links.iter().map(row).collect::<String>()
        )
    };
    let kind = "text/html; charset=utf-8";
    let server = Server { kind, keeps: "-._~", has_small_digits: false, page, is_chunked: false };
    server.assert_walked(PAGES + FILES);
}

#[test]
fn nginx_in_json_tells_size_and_date_so_a_second_run_asks_for_the_pages_alone() {
    let page = |path: &str, _: &str, links: &[(String, String)]| {
        let sizes: BTreeMap<_, _> = wanted().into_iter().collect();
        let row = |(name, _): &(String, String)| {
            let known = sizes.get(&format!("{path}{name}")["/pub/".len()..]);
            let date = known.map_or(std::time::UNIX_EPOCH, File::modified);
            let (kind, size) = match known {
                Some(file) => ("file", format!(", \"size\":{}", file.size)),
                None => ("directory", String::new()),
            };
            let name = serde_json::to_string(name.trim_end_matches('/')).unwrap();
            let date = httpdate::fmt_http_date(date);
            format!("{{ \"name\":{name}, \"type\":\"{kind}\", \"mtime\":\"{date}\"{size} }}")
        };
        format!("[\n{}\n]", links.iter().map(row).collect::<Vec<_>>().join(",\n"))
    };
    let (kind, keeps) = ("application/json", "-._~");
    let server = Server { kind, keeps, has_small_digits: false, page, is_chunked: true };
    server.assert_walked(PAGES);
}
