//! Plain lists of addresses, and the input files of aria2.
//!
//! It does not judge addresses. Invariant: an indented line belongs to the addresses above it or is a bad
//! line, never a file of its own.

use std::io::BufRead;

use super::fields::{Context, Fields};
use super::lines::{Line, Lines};
use super::{BadLine, Each, Found};
use crate::error::Result;

/// Reads an address a line. Blank lines and those that begin with `#` are passed over.
pub(super) fn read_plain(
    mut lines: Lines<'_, impl BufRead>,
    context: &Context,
    each: &mut Each<'_>,
) -> Result<()> {
    while let Some(Line { number, text }) = lines.next()? {
        let found = match text {
            Ok(text) if is_blank(text) => continue,
            Ok(text) if text.starts_with([' ', '\t']) => {
                bad(number, "an indented line is an option of aria2: use --format aria2")
            }
            Ok(text) => {
                context.found(number, &Fields { urls: vec![text.into()], ..Fields::default() })
            }
            Err(why) => bad(number, why),
        };
        each(found)?;
    }
    Ok(())
}

/// The addresses of a file and the options below them.
#[derive(Default)]
struct Group {
    line: u64,
    fields: Fields,
    directory: Option<String>,
    name: Option<String>,
    /// Why one of its lines cannot be read.
    why: Option<&'static str>,
}

/// Reads an input file of aria2: addresses of one file with tabs between, and below them indented options, of
/// which `dir`, `out` and `checksum` count.
pub(super) fn read_aria2(
    mut lines: Lines<'_, impl BufRead>,
    context: &Context,
    each: &mut Each<'_>,
) -> Result<()> {
    let mut group: Option<Group> = None;
    while let Some(Line { number, text }) = lines.next()? {
        match (text, &mut group) {
            (Ok(text), _) if is_blank(text) => {}
            (Ok(text), Some(group)) if text.starts_with([' ', '\t']) => group.option(text),
            (Ok(text), None) if text.starts_with([' ', '\t']) => {
                each(bad(number, "an option without an address above it"))?;
            }
            (Ok(text), _) => {
                let urls = text.split('\t').filter(|url| !url.trim().is_empty());
                let fields = Fields { urls: urls.map(Into::into).collect(), ..Fields::default() };
                let next = Group { line: number, fields, ..Group::default() };
                if let Some(group) = group.replace(next) {
                    each(group.found(context))?;
                }
            }
            // It may be an option of the file above or the next file: neither may be taken for whole.
            (Err(why), Some(group)) => {
                group.why = Some("a line of its options cannot be read");
                each(bad(number, why))?;
            }
            (Err(why), None) => each(bad(number, why))?,
        }
    }
    group.map_or(Ok(()), |group| each(group.found(context)))
}

impl Group {
    fn option(&mut self, text: &str) {
        let Some((name, value)) = text.trim().split_once('=') else {
            self.why = Some("one of its options has no value");
            return;
        };
        match name.trim_end() {
            "out" => self.name = Some(value.trim().into()),
            "dir" => self.directory = Some(value.trim().into()),
            "checksum" => self.fields.push_checksum(value.trim()),
            _ => {}
        }
    }

    fn found(mut self, context: &Context) -> Found {
        if let Some(why) = self.why {
            return bad(self.line, why);
        }
        let directory =
            self.directory.as_deref().map(|name| name.strip_prefix("./").unwrap_or(name));
        let directory =
            directory.map(|name| if name == "/" { name } else { name.trim_end_matches('/') });
        let directory = directory.filter(|name| !matches!(*name, "" | "."));
        self.fields.path = match (directory, self.name.take()) {
            (Some(directory), Some(name)) => Some(format!("{directory}/{name}")),
            (Some(directory), None) => match context.found(self.line, &self.fields) {
                Found::Entry(entry) => {
                    let name = entry.path.rsplit('/').next().unwrap_or(&entry.path);
                    Some(format!("{directory}/{name}"))
                }
                wrong @ (Found::Bad(_) | Found::Doubt(_)) => return wrong,
            },
            (None, name) => name,
        };
        context.found(self.line, &self.fields)
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty() || text.starts_with('#')
}

/// A line that is no record.
pub(super) fn bad(line: u64, why: &str) -> Found {
    Found::Bad(BadLine { line, path: None, why: why.into() })
}
