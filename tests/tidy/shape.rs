//! How large things may be: files, functions, lines.

use crate::source::{Source, item_end};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 110;

/// What may stand before `fn`.
const QUALIFIERS: [&str; 5] = ["pub", "async", "const", "unsafe", "extern"];

/// A file fits in the head.
pub(crate) fn file_length(source: &Source) -> Vec<String> {
    let length = source.raw.len();
    if length <= FILE_LINES_MAX || !source.is_rust() {
        return Vec::new();
    }
    vec![source.at(
        0,
        &format!("{length} lines, at most {FILE_LINES_MAX}: find the missing noun and split"),
    )]
}

/// A function fits on a page.
pub(crate) fn function_lengths(source: &Source) -> Vec<String> {
    let starts = source.own_code().filter(|(_, code)| starts_function(code));
    let long = starts.filter_map(|(line, _)| {
        let rest = source.code[line..].join("\n");
        let (end, has_body) = item_end(&rest, 0)?;
        let length = rest[..end].matches('\n').count() + 1;
        (has_body && length > FUNCTION_LINES_MAX).then_some((line, length))
    });
    let remedy =
        |length| format!("a function of {length} lines, at most {FUNCTION_LINES_MAX}: split it");
    long.map(|(line, length)| source.at(line, &remedy(length))).collect()
}

fn starts_function(code: &str) -> bool {
    let mut words = code.split_whitespace().skip_while(|word| {
        let plain = word.split('(').next().unwrap_or(word);
        // `extern "C"` leaves its quotes; `pub(in crate::io)` leaves its end.
        QUALIFIERS.contains(&plain) || word.starts_with('"') || word.ends_with(')')
    });
    words.next() == Some("fn")
}

/// A line fits in a window.
pub(crate) fn line_lengths(source: &Source) -> Vec<String> {
    let long = |(line, raw): (usize, &String)| {
        let length = raw.chars().count();
        let remedy = format!("{length} characters, at most {LINE_CHARS_MAX}: wrap it");
        (length > LINE_CHARS_MAX && source.is_rust()).then(|| source.at(line, &remedy))
    };
    source.raw.iter().enumerate().filter_map(long).collect()
}

/// Lines do not end in blanks, and the last one ends.
pub(crate) fn line_ends(source: &Source) -> Vec<String> {
    let blank = source.raw.iter().enumerate().filter(|(_, raw)| raw.ends_with([' ', '\t', '\r']));
    let mut findings: Vec<String> = blank
        .map(|(line, _)| source.at(line, "remove the blanks at the end of the line"))
        .collect();
    if !source.ends_clean {
        findings
            .push(source.at(source.raw.len().saturating_sub(1), "end the file with one newline"));
    }
    findings
}

/// A file says first what it is.
pub(crate) fn head(source: &Source) -> Vec<String> {
    if !source.is_rust() || source.raw.first().is_some_and(|first| first.starts_with("//! ")) {
        return Vec::new();
    }
    vec![source.at(0, "begin with `//!`: what the file is, what it is not, its invariant")]
}

#[cfg(test)]
mod samples {
    use super::*;
    use crate::source::found;

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(found("src/a.rs", &"x\n".repeat(FILE_LINES_MAX + 1), file_length), [1]);
        assert!(found("src/a.rs", &"x\n".repeat(FILE_LINES_MAX), file_length).is_empty());
    }

    #[test]
    fn a_long_function_is_found_whatever_stands_before_it() {
        for head in
            ["fn f()", "pub(crate) async fn f()", "    pub unsafe fn f(a: [u8; 4])", "const fn f()"]
        {
            let function = |lines| format!("\n{head} {{\n{}}}\n", "    \"}\";\n".repeat(lines));
            assert_eq!(
                found("src/a.rs", &function(FUNCTION_LINES_MAX - 1), function_lengths),
                [2],
                "{head}"
            );
            assert!(
                found("src/a.rs", &function(FUNCTION_LINES_MAX - 2), function_lengths).is_empty(),
                "{head}"
            );
        }
        let declared = format!("fn f(a: [u8; 4]);\n{}", "x {}\n".repeat(90));
        assert!(found("src/a.rs", &declared, function_lengths).is_empty());
        let test = format!("#[cfg(test)]\nmod tests {{\nfn f() {{\n{}}}\n}}\n", "x\n".repeat(90));
        assert!(found("src/a.rs", &test, function_lengths).is_empty());
    }

    #[test]
    fn long_and_ragged_lines_are_found() {
        let text = format!("{}\n{}\n", "é".repeat(LINE_CHARS_MAX), "é".repeat(LINE_CHARS_MAX + 1));
        assert_eq!(found("src/a.rs", &text, line_lengths), [2]);
        assert_eq!(found("scripts/a", "a \nb\t\nc", line_ends), [1, 2, 3]);
        assert_eq!(found("scripts/a", "a\n\n", line_ends), [2]);
        assert!(found("scripts/a", "a\n\nb\n", line_ends).is_empty());
    }

    #[test]
    fn a_file_without_a_head_is_found() {
        assert_eq!(found("src/a.rs", "\n//! Late.\n", head), [1]);
        assert!(found("src/a.rs", "//! What it is.\n", head).is_empty());
    }
}
