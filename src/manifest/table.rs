//! Tables with a header: TSV, and CSV with its quotes (RFC 4180).
//!
//! A record is a line: no cell that we read can hold a line break, and a quote that is not closed must not
//! swallow the rest of the list. Invariant: a record has as many cells as the header, or is a bad line.

use std::io::BufRead;

use super::Each;
use super::fields::{Context, Fields};
use super::lines::{Line, Lines};
use super::list::bad;
use crate::error::{Error, Kind, Result};

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    Url,
    Path,
    Size,
    Modified,
    Alternates,
    Checksum,
    Digest(&'static str),
    Other,
}

impl Column {
    fn named(name: &str) -> Self {
        match name.trim().to_ascii_lowercase().as_str() {
            "url" => Self::Url,
            "path" => Self::Path,
            "size" | "size_bytes" => Self::Size,
            "mtime" => Self::Modified,
            "alternates" => Self::Alternates,
            "checksum" | "digest" => Self::Checksum,
            "sha256" => Self::Digest("sha256"),
            "sha512" => Self::Digest("sha512"),
            "blake3" => Self::Digest("blake3"),
            "sha1" => Self::Digest("sha1"),
            "md5" => Self::Digest("md5"),
            _ => Self::Other,
        }
    }
}

/// Reads a table whose cells stand between `mark`s; only commas know quotes. Columns with unknown names and
/// blank lines are passed over, empty cells say nothing.
///
/// # Errors
/// [`Kind::Usage`] if the header names neither `url` nor `path`, or one column twice.
pub(super) fn read(
    mut lines: Lines<'_, impl BufRead>,
    mark: char,
    context: &Context,
    each: &mut Each<'_>,
) -> Result<()> {
    let mut columns: Option<Vec<Column>> = None;
    while let Some(Line { number, text }) = lines.next()? {
        if text.is_ok_and(|text| text.trim().is_empty()) {
            continue;
        }
        let cells = text.and_then(|text| cells(text, mark));
        let Some(columns) = &columns else {
            columns = Some(header(&cells.map_err(|why| Error::new(Kind::Usage, why))?)?);
            continue;
        };
        each(match cells {
            Ok(cells) if cells.len() == columns.len() => {
                context.found(number, &fields(columns, cells))
            }
            Ok(_) => bad(number, "the line does not have as many cells as the header"),
            Err(why) => bad(number, why),
        })?;
    }
    Ok(())
}

fn header(cells: &[String]) -> Result<Vec<Column>> {
    let name = |cell: &String| Column::named(cell.trim_start_matches('#'));
    let columns: Vec<Column> = cells.iter().map(name).collect();
    let wrong = |message| {
        let hint =
            "the columns are url, path, size, sha256, sha512, blake3, sha1, md5, mtime, alternates";
        Err(Error::new(Kind::Usage, message).hint(hint))
    };
    if !columns.contains(&Column::Url) && !columns.contains(&Column::Path) {
        return wrong(
            "the first line of the table names neither a column `url` nor a column `path`",
        );
    }
    for (at, column) in columns.iter().enumerate() {
        if *column != Column::Other && columns[..at].contains(column) {
            return wrong("the first line of the table names a column twice");
        }
    }
    Ok(columns)
}

fn fields(columns: &[Column], cells: Vec<String>) -> Fields {
    let mut fields = Fields::default();
    let mut alternates = Vec::new();
    for (column, cell) in columns.iter().zip(cells).filter(|(_, cell)| !cell.trim().is_empty()) {
        match column {
            Column::Url => fields.urls.push(cell),
            Column::Path => fields.path = Some(cell),
            Column::Size => fields.size = Some(cell),
            Column::Modified => fields.modified = Some(cell),
            Column::Alternates => alternates.extend(cell.split_whitespace().map(String::from)),
            Column::Checksum => fields.push_checksum(&cell),
            Column::Digest(algo) => fields.digests.push(((*algo).into(), cell)),
            Column::Other => {}
        }
    }
    fields.urls.append(&mut alternates);
    fields
}

fn cells(text: &str, mark: char) -> Result<Vec<String>, &'static str> {
    if mark != ',' {
        return Ok(text.split(mark).map(String::from).collect());
    }
    let mut cells = Vec::new();
    let mut rest = text;
    loop {
        let (cell, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_cell(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].into(), &rest[end..])
            }
        };
        cells.push(cell);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(cells),
            None => return Err("a cell goes on behind its closing quote"),
        }
    }
}

/// A cell up to its closing quote, and what follows; two quotes stand for one.
fn quoted_cell(mut rest: &str) -> Result<(String, &str), &'static str> {
    let mut cell = String::new();
    loop {
        let end = rest.find('"').ok_or("a quote is not closed on its line")?;
        cell.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                cell.push('"');
                rest = next;
            }
            None => return Ok((cell, rest)),
        }
    }
}
