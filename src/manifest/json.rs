//! Lists as JSON lines: read, and written for the next run.
//!
//! Invariant: what is written is read back as the same entry, but for its line.

use std::io::BufRead;

use serde::Deserialize;
use serde_json::Number;

use super::fields::{Context, Fields};
use super::lines::{Line, Lines};
use super::list::bad;
use super::stretches::{Best, Gathering};
use super::{Each, Entry, time};
use crate::digest::Stretches;
use crate::error::{Escaped, Result};
use crate::limits::MANIFEST_LINE_BYTES_MAX;

/// A line; unknown names are passed over, so that the results of a run are a list as well.
#[derive(Deserialize)]
struct Record {
    url: Option<String>,
    path: Option<String>,
    size: Option<u64>,
    size_bytes: Option<u64>,
    sha256: Option<String>,
    sha512: Option<String>,
    blake3: Option<String>,
    sha1: Option<String>,
    md5: Option<String>,
    checksum: Option<String>,
    digest: Option<String>,
    mtime: Option<Time>,
    alternates: Option<Alternates>,
    stretches: Option<Set>,
}

/// The digests of the stretches of a file.
#[derive(Deserialize)]
struct Set {
    algo: String,
    length: Number,
    digests: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Seconds(Number),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Alternates {
    Several(Vec<String>),
    One(String),
}

/// Reads a JSON object a line. Blank lines are passed over.
pub(super) fn read(
    mut lines: Lines<'_, impl BufRead>,
    context: &Context,
    each: &mut Each<'_>,
) -> Result<()> {
    while let Some(Line { number, text }) = lines.next()? {
        let found = match text.map(|text| (text, serde_json::from_str::<Record>(text))) {
            Ok((text, _)) if text.trim().is_empty() => continue,
            Ok((_, Ok(mut record))) => {
                let mut best = Best::default();
                if let Some(set) = record.stretches.take() {
                    let mut gathering = Gathering::new(&set.algo, &set.length.to_string());
                    set.digests.iter().for_each(|digest| gathering.push(digest, None));
                    best.add(gathering.finish());
                }
                context.tell(number, &record.fields(), best, each)?;
                continue;
            }
            Ok((_, Err(error))) => {
                let error = error.to_string();
                bad(number, &format!("not a JSON object of the kind: {}", Escaped(&error)))
            }
            Err(why) => bad(number, why),
        };
        each(found)?;
    }
    Ok(())
}

impl Record {
    fn fields(self) -> Fields {
        let mut fields = Fields { path: self.path, ..Fields::default() };
        fields.urls.extend(self.url);
        match self.alternates {
            Some(Alternates::Several(urls)) => fields.urls.extend(urls),
            Some(Alternates::One(url)) => fields.urls.push(url),
            None => {}
        }
        fields.size = self.size.or(self.size_bytes).map(|size| size.to_string());
        fields.modified = self.mtime.map(|time| match time {
            Time::Seconds(number) => number.to_string(),
            Time::Text(text) => text,
        });
        let digests = [
            ("sha256", self.sha256),
            ("sha512", self.sha512),
            ("blake3", self.blake3),
            ("sha1", self.sha1),
            ("md5", self.md5),
        ];
        let given = digests.into_iter().filter_map(|(algo, hex)| Some((algo.into(), hex?)));
        fields.digests.extend(given);
        for checksum in [self.checksum, self.digest].into_iter().flatten() {
            fields.push_checksum(&checksum);
        }
        fields
    }
}

/// Appends an entry as a line of JSON, which [`super::read`] takes. Its line number is not written.
pub(crate) fn write_line(entry: &Entry, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(b'{');
    let (main, alternates) = match entry.urls.split_first() {
        Some((main, alternates)) => (Some(main), alternates),
        None => (None, &[][..]),
    };
    if let Some(main) = main {
        push(out, "url", main.as_str());
    }
    push(out, "path", entry.path.as_str());
    if let Some(size) = entry.size {
        push(out, "size", size);
    }
    if let Some(checksum) = entry.checksum.as_ref().map(ToString::to_string) {
        let (algo, hex) = checksum.split_once('=').unwrap_or(("checksum", &checksum));
        push(out, algo, hex);
    }
    if let Some(modified) = entry.modified {
        push(out, "mtime", time::show(modified));
    }
    if !alternates.is_empty() {
        let alternates: Vec<&str> = alternates.iter().map(url::Url::as_str).collect();
        push(out, "alternates", alternates);
    }
    if let Some(stretches) = &entry.stretches {
        let before = out.len();
        push(out, "stretches", shown(stretches));
        // Without them it is a line that can be read.
        if out.len() - start > MANIFEST_LINE_BYTES_MAX - b"}".len() {
            out.truncate(before);
        }
    }
    out.extend_from_slice(b"}\n");
}

fn shown(stretches: &Stretches) -> serde_json::Value {
    let digests: Vec<String> = stretches
        .bytes()
        .chunks_exact(stretches.algo().digest_len())
        .map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    let (algo, length) = (stretches.algo().name(), stretches.length());
    serde_json::json!({"algo": algo, "length": length, "digests": digests})
}

fn push(out: &mut Vec<u8>, name: &str, value: impl Into<serde_json::Value>) {
    if !out.ends_with(b"{") {
        out.push(b',');
    }
    let pair = format!("\"{name}\":{}", value.into());
    out.extend_from_slice(pair.as_bytes());
}
