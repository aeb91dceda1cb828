//! Makes an entry of what a record says, whatever the form of the list.
//!
//! It reads no list. Invariant: a record becomes an entry only if all of what it says could be understood; a
//! digest that is not understood is never dropped silently.

use std::time::SystemTime;

use url::{ParseError, Url};

use super::{BadLine, Entry, Found, path, time};
use crate::digest::{Algo, Checksum};
use crate::error::{Error, Escaped, Kind, Result};

/// What all records of a list have in common.
pub(super) struct Context {
    base: Option<Url>,
}

/// What one record says, as it says it.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) path: Option<String>,
    /// Addresses, absolute or below the base, the best first.
    pub(super) urls: Vec<String>,
    pub(super) size: Option<String>,
    /// Names of algorithms and hex digits.
    pub(super) digests: Vec<(String, String)>,
    pub(super) modified: Option<String>,
}

impl Fields {
    /// Adds a digest in the form `ALGO=HEX` or `ALGO:HEX`.
    pub(super) fn push_checksum(&mut self, text: &str) {
        let (algo, hex) = text.split_once(['=', ':']).unwrap_or(("", text));
        self.digests.push((algo.into(), hex.into()));
    }
}

/// An address that may not be one of an entry.
enum WrongUrl {
    /// One that others know how to fetch.
    Scheme,
    Other(String),
}

impl Context {
    /// Looks for relative addresses in `base`.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it is not http or https.
    pub(super) fn new(base: Option<&Url>) -> Result<Self> {
        let Some(mut base) = base.cloned() else { return Ok(Self { base: None }) };
        if !matches!(base.scheme(), "http" | "https") {
            return Err(Error::new(Kind::Usage, "the base of a list is not http or https"));
        }
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { base: Some(base) })
    }

    /// Where relative addresses are looked for; its path ends in a slash.
    pub(super) fn base(&self) -> Option<&Url> {
        self.base.as_ref()
    }

    /// What the record on `line` is.
    pub(super) fn found(&self, line: u64, fields: &Fields) -> Found {
        match self.entry(line, fields) {
            Ok(entry) => Found::Entry(entry),
            Err(why) => {
                let path = fields.path.clone().filter(|path| path::check(path).is_ok());
                Found::Bad(BadLine { line, path, why })
            }
        }
    }

    fn entry(&self, line: u64, fields: &Fields) -> Result<Entry, String> {
        if let Some(path) = &fields.path {
            path::check(path)?;
        }
        let urls = self.urls(fields)?;
        let path = match &fields.path {
            Some(path) => path.clone(),
            None => path::of_url(&urls[0], self.base.as_ref())?,
        };
        path::check(&path)?;
        let size = fields.size.as_deref().map(size).transpose()?;
        let modified: Option<SystemTime> =
            fields.modified.as_deref().map(time::parse).transpose()?;
        let checksum = strongest(&fields.digests)?;
        Ok(Entry { path, urls, size, checksum, stretches: None, modified, line })
    }

    /// The addresses, at least one.
    fn urls(&self, fields: &Fields) -> Result<Vec<Url>, String> {
        let mut urls = Vec::new();
        for text in &fields.urls {
            match self.url(text) {
                Ok(url) if urls.contains(&url) => {}
                Ok(url) => urls.push(url),
                Err(WrongUrl::Scheme) => {}
                Err(WrongUrl::Other(why)) => return Err(why),
            }
        }
        if !urls.is_empty() {
            return Ok(urls);
        }
        match (&fields.path, &self.base) {
            _ if !fields.urls.is_empty() => Err("no address of it is http or https".into()),
            (Some(path), Some(base)) => {
                let below = base.join(&path::encode(path));
                Ok(vec![below.map_err(|error| format!("the path makes no address: {error}"))?])
            }
            (Some(_), None) => Err("no address, and no --base-url to look for the path in".into()),
            (None, _) => Err("neither an address nor a path".into()),
        }
    }

    fn url(&self, text: &str) -> Result<Url, WrongUrl> {
        let wrong = |error| WrongUrl::Other(format!("the address makes no sense: {error}"));
        let text = text.trim();
        if text.is_empty() {
            return Err(WrongUrl::Other("the address is empty".into()));
        }
        let mut url = match (Url::parse(text), &self.base) {
            (Err(ParseError::RelativeUrlWithoutBase), Some(base)) => {
                base.join(text).map_err(wrong)?
            }
            (Err(ParseError::RelativeUrlWithoutBase), None) => {
                let why = "the address has no host, and there is no --base-url";
                return Err(WrongUrl::Other(why.into()));
            }
            (parsed, _) => parsed.map_err(wrong)?,
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(WrongUrl::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            let why = "the address holds credentials: use --user, --netrc or --header";
            return Err(WrongUrl::Other(why.into()));
        }
        url.set_fragment(None);
        Ok(url)
    }
}

fn size(text: &str) -> Result<u64, String> {
    let size = text.trim().parse::<i64>().ok().and_then(|size| u64::try_from(size).ok());
    size.ok_or_else(|| "the size is not a whole number of bytes".into())
}

/// The strongest of the digests that we can compute. Digests of unknown kinds are left to others as long as
/// there is a known one.
fn strongest(digests: &[(String, String)]) -> Result<Option<Checksum>, String> {
    let (mut best, mut unknown) = (None::<Checksum>, None);
    for (name, hex) in digests {
        let algo = match algo_of(name) {
            Ok(algo) => algo,
            Err(why) => {
                unknown = Some(why);
                continue;
            }
        };
        let read = format!("{}={hex}", algo.name()).parse::<Checksum>();
        let read = read.map_err(|why| shown(&why))?;
        if best.as_ref().is_none_or(|best| strength(read.algo()) > strength(best.algo())) {
            best = Some(read);
        }
    }
    match (best, unknown) {
        (None, Some(why)) => Err(shown(&why)),
        (best, _) => Ok(best),
    }
}

/// The algorithm of a name, in any of its spellings.
pub(super) fn algo_of(name: &str) -> Result<Algo, String> {
    // OpenSSL writes `SHA2-256`, Metalink and aria2 `sha-256`.
    name.trim().to_ascii_lowercase().replace("sha2-", "sha").replace(['-', '_'], "").parse()
}

/// How much we like to rely on an algorithm: first how hard it is to fool, then how fast it is.
pub(super) fn strength(algo: Algo) -> u8 {
    match algo {
        Algo::Blake3 => 5,
        Algo::Sha256 => 4,
        Algo::Sha512 => 3,
        Algo::Sha1 => 2,
        Algo::Md5 => 1,
    }
}

fn shown(text: &str) -> String {
    Escaped(text).to_string()
}
