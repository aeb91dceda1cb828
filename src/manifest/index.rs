//! Directory indexes of HTTP servers: the links of a page to what is right below it.
//!
//! It fetches nothing and does not walk. Sizes and times are taken only from JSON: pages round the ones and
//! hide the zone of the others. Invariant: a page that is no index, or that was cut off, is an error, never
//! an empty directory.

use std::collections::HashSet;
use std::io::Read;
use std::time::SystemTime;

use html5gum::{Token, Tokenizer};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use url::Url;

use super::fields::{Context, Fields};
use super::{BadLine, Each, Found, path, time, unreadable};
use crate::error::{Error, Escaped, Kind, Result};
use crate::limits::INDEX_BYTES_MAX;
use crate::units::wide;

/// A file or a directory that an index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its name, decoded: one component of a path.
    pub(crate) name: String,
    /// Its address; that of a directory ends in a slash.
    pub(crate) url: Url,
    /// Whether it is a directory.
    pub(crate) is_dir: bool,
    /// Its size in bytes, where it is told exactly.
    pub(crate) size: Option<u64>,
    /// When it was last modified, where the zone is told.
    pub(crate) modified: Option<SystemTime>,
}

/// What an index names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// What is right below the page, in its order, each once.
    pub(crate) links: Vec<Link>,
    /// What is below as well and cannot be an entry, and why; escaped, for people.
    pub(crate) bad: Vec<String>,
}

/// Reads the index page at `url`: HTML of nginx, Apache, Caddy, lighttpd, Python's http.server and
/// `ringpull serve`, JSON of nginx and Caddy.
///
/// Links to anything but what is one level below, to other hosts, and with a query (they sort) do not count.
///
/// # Errors
/// [`Kind::Protocol`] if the page is no index, or does not end as one.
pub(crate) fn links(page: &[u8], content_type: Option<&str>, url: &Url) -> Result<Listing> {
    let start = page.iter().find(|byte| !byte.is_ascii_whitespace());
    let told = content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
    let directory =
        url.join(".").map_err(|_| no_index("its address cannot be one of a directory"))?;
    if told || start == Some(&b'[') {
        from_json(page, &directory)
    } else {
        from_html(page, &directory)
    }
}

/// Reads an index page that is a list by itself: its files are entries, its directories bad lines.
pub(super) fn read(
    input: impl Read,
    name: &str,
    base: Option<&Url>,
    each: &mut Each<'_>,
) -> Result<()> {
    let mut page = Vec::new();
    let mut input = input.take(wide(INDEX_BYTES_MAX) + 1);
    input.read_to_end(&mut page).map_err(|source| unreadable(name, source))?;
    if page.len() > INDEX_BYTES_MAX {
        return Err(no_index("it is longer than 64 MiB"));
    }
    let context = Context::new(base)?;
    let Some(base) = context.base() else {
        let error =
            Error::new(Kind::Usage, "an index has names only, and no address to begin from");
        return Err(error.hint("say with --base-url where the files are"));
    };
    let listing = links(&page, None, base)?;
    let mut line = 0;
    for link in listing.links {
        line += 1;
        if link.is_dir {
            let why = "a directory: give its address, with a slash at its end, to walk it".into();
            each(Found::Bad(BadLine { line, path: Some(link.name), why }))?;
            continue;
        }
        each(context.found(
            line,
            &Fields {
                path: Some(link.name),
                urls: vec![link.url.into()],
                size: link.size.map(|size| size.to_string()),
                modified: link.modified.map(time::show),
                ..Fields::default()
            },
        ))?;
    }
    for why in listing.bad {
        line += 1;
        each(Found::Bad(BadLine { line, path: None, why }))?;
    }
    Ok(())
}

fn no_index(why: &str) -> Error {
    Error::new(
        Kind::Protocol,
        format!("the page is no directory index that ringpull can read: {why}"),
    )
}

/// An entry of an index in JSON: `type` and `mtime` are of nginx, the rest of Caddy.
#[derive(Deserialize)]
struct Record {
    name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    size: Option<u64>,
    mtime: Option<String>,
    mod_time: Option<String>,
    is_dir: Option<bool>,
    is_symlink: Option<bool>,
}

fn from_json(page: &[u8], directory: &Url) -> Result<Listing> {
    let broken = |error: serde_json::Error| no_index(&Escaped(&error.to_string()).to_string());
    let records: Vec<Record> = serde_json::from_slice(page).map_err(broken)?;
    let mut listing = Listing::default();
    for record in records {
        let is_dir = match (record.kind.as_deref(), record.is_dir) {
            (Some("directory"), _) | (None, Some(true)) => true,
            (Some("file"), _) | (None, Some(false)) => false,
            (Some(_), _) => {
                let why = format!("{}: neither a file nor a directory", Escaped(&record.name));
                listing.bad.push(why);
                continue;
            }
            (None, None) => return Err(no_index("a record does not say what it is")),
        };
        let name = record.name.strip_suffix('/').filter(|_| is_dir).unwrap_or(&record.name);
        if let Err(why) = path::check_component(name) {
            listing.bad.push(format!("{}: {why}", Escaped(name)));
            continue;
        }
        let slash = if is_dir { "/" } else { "" };
        let url = directory.join(&format!("{}{slash}", path::encode(name)));
        let url = url.map_err(|_| no_index("a name makes no address"))?;
        // The size of a symbolic link may be its own, not that of the file it leads to.
        let is_exact = !is_dir && record.is_symlink != Some(true);
        let modified = record.mtime.or(record.mod_time).and_then(|text| time::parse(&text).ok());
        let size = record.size.filter(|_| is_exact);
        listing.links.push(Link { name: name.into(), url, is_dir, size, modified });
    }
    Ok(listing)
}

/// What a page says of itself.
#[derive(Default)]
struct Page {
    title: String,
    heading: String,
    /// Whether one of its links sorts it as those of Caddy do.
    sorts: bool,
    ends: bool,
}

impl Page {
    /// Whether it is one of the kinds that we know.
    fn is_index(&self) -> bool {
        let (title, heading) = (self.title.trim(), self.heading.trim());
        let is_named = |text: &str| {
            ["Index of ", "Directory listing for "].iter().any(|start| text.starts_with(start))
        };
        let is_ours = title == heading && title.starts_with('/') && title.ends_with('/');
        is_named(title) || is_named(heading) || is_ours || self.sorts
    }
}

fn from_html(page: &[u8], directory: &Url) -> Result<Listing> {
    let mut about = Page::default();
    let mut listing = Listing::default();
    let mut seen = HashSet::new();
    let mut within: Option<Vec<u8>> = None;
    for token in Tokenizer::new(page) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) if tag.name.as_slice() == b"a" => {
                if let Some(href) = tag.attributes.get(b"href".as_slice()) {
                    let href = String::from_utf8_lossy(&href.value);
                    follow(&href, directory, &mut about, &mut listing, &mut seen);
                }
            }
            Token::StartTag(tag) => within = Some(tag.name.to_vec()),
            Token::EndTag(tag) => {
                about.ends |= tag.name.as_slice() == b"html";
                within = within.filter(|open| *open != *tag.name);
            }
            Token::String(text) => match within.as_deref() {
                Some(b"title") => about.title.push_str(&String::from_utf8_lossy(&text.value)),
                Some(b"h1") => about.heading.push_str(&String::from_utf8_lossy(&text.value)),
                _ => {}
            },
            _ => {}
        }
    }
    if !about.is_index() {
        return Err(no_index("it does not look like one"));
    }
    if !about.ends {
        return Err(no_index("it has no end, so it may have been cut off"));
    }
    Ok(listing)
}

/// Takes up a link, if it leads to what is right below the page.
fn follow(
    href: &str,
    directory: &Url,
    about: &mut Page,
    listing: &mut Listing,
    seen: &mut HashSet<String>,
) {
    let Ok(mut url) = directory.join(href) else {
        listing.bad.push(format!("{}: not an address", Escaped(href)));
        return;
    };
    let Some((name, is_dir)) = below(&url, directory) else { return };
    if let Some(query) = url.query() {
        about.sorts |= name.is_empty() && query.contains("sort=") && query.contains("order=");
        return;
    }
    if name.is_empty() {
        return;
    }
    match path::decode(name) {
        Ok(name) => {
            let is_new = seen.insert(url.path().to_owned());
            url.set_fragment(None);
            if is_new {
                listing.links.push(Link { name, url, is_dir, size: None, modified: None });
            }
        }
        Err(why) => listing.bad.push(format!("{}: {why}", Escaped(href))),
    }
}

/// The one component by which `url` is below `directory`, still encoded, and whether a slash follows; an
/// empty one for the directory itself.
fn below<'a>(url: &'a Url, directory: &Url) -> Option<(&'a str, bool)> {
    if url.origin() != directory.origin() {
        return None;
    }
    // Component by component, because servers differ in what they encode.
    let mut found = url.path().split('/');
    let above = directory.path().strip_suffix('/')?;
    for component in above.split('/') {
        if !percent_decode_str(component).eq(percent_decode_str(found.next()?)) {
            return None;
        }
    }
    let name = found.next()?;
    match (found.next(), found.next()) {
        (None, _) => Some((name, false)),
        (Some(""), None) => Some((name, true)),
        _ => None,
    }
}
