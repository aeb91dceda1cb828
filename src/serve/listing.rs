//! Draws the page that lists a directory, for people and for programs that walk it.
//!
//! It does not read the directory. Invariant: one `<a href>` per entry and line, its address
//! percent-encoded and relative, and nothing of a name can break out of its place in the page.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::time::SystemTime;

use super::target::encode;

/// One entry of a directory that can be asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The file name, in whatever encoding it has.
    pub(super) name: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) modified: SystemTime,
}

/// The kinds of entries that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    Directory,
    /// A regular file of this size in bytes.
    File(u64),
}

/// Draws the page for the directory that `title` names (`/a/b/`). Entries come out sorted by name.
pub(super) fn page(title: &str, mut entries: Vec<Entry>) -> String {
    entries.sort_by(by_name);
    let title = escaped(title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body>\n<h1>{title}</h1>\n<table>\n"
    );
    if title != "/" {
        page.push_str("<tr><td><a href=\"../\">../</a></td></tr>\n");
    }
    for entry in &entries {
        let (slash, size) = match entry.kind {
            EntryKind::Directory => ("/", "-".to_owned()),
            EntryKind::File(size) => ("", size.to_string()),
        };
        let (address, name) = (encode(&entry.name), escaped(&String::from_utf8_lossy(&entry.name)));
        let modified = httpdate::fmt_http_date(entry.modified);
        writeln!(
            page,
            "<tr><td><a href=\"{address}{slash}\">{name}{slash}</a></td>\
             <td align=\"right\">{size}</td><td>{modified}</td></tr>"
        )
        .expect("proof: writing to a String cannot fail");
    }
    page.push_str("</table>\n</body>\n</html>\n");
    page
}

fn by_name(left: &Entry, right: &Entry) -> Ordering {
    left.name.cmp(&right.name)
}

/// Text for HTML, in elements and in quoted attributes. Control characters are shown as unknown
/// ones.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            control if control.is_control() => safe.push(char::REPLACEMENT_CHARACTER),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn entry(name: &[u8], kind: EntryKind) -> Entry {
        Entry { name: name.into(), kind, modified: UNIX_EPOCH + Duration::from_secs(784_111_777) }
    }

    #[test]
    fn entries_are_sorted_links_with_size_and_date() {
        let page =
            page("/d/", vec![entry(b"b", EntryKind::File(7)), entry(b"a", EntryKind::Directory)]);
        let links: Vec<_> = page.lines().filter(|line| line.contains("<a href")).collect();
        assert_eq!(links.len(), 3, "{page}");
        assert!(links[0].contains("href=\"../\""));
        assert!(links[1].contains("<a href=\"a/\">a/</a>"), "{}", links[1]);
        assert!(
            links[2].contains("<a href=\"b\">b</a>") && links[2].contains(">7<"),
            "{}",
            links[2]
        );
        assert!(links[2].contains("Sun, 06 Nov 1994 08:49:37 GMT"));
    }

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let nasty = b"\"><script>alert('1')</script>&\n\xff";
        let page = page(
            "/<x>/",
            vec![entry(nasty, EntryKind::File(0)), entry(b"javascript:1", EntryKind::File(0))],
        );
        assert!(!page.contains("<script") && !page.contains("<x>"), "{page}");
        assert!(
            page.contains("href=\"%22%3E%3Cscript%3Ealert%28%271%27%29%3C%2Fscript%3E%26%0A%FF\""),
            "{page}"
        );
        assert!(page.contains("href=\"javascript%3A1\""), "{page}");
        assert_eq!(page.matches("<a href").count(), 3);
    }

    #[test]
    fn the_root_has_no_parent() {
        assert!(!page("/", Vec::new()).contains("<a href"));
    }
}
