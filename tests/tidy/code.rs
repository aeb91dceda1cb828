//! What code may do where: unsafe, the ring, printing, unwrapping.

use crate::source::{Source, has_word, word_at};

/// Most unsafe blocks of the library.
pub(crate) const UNSAFE_BLOCKS_MAX: usize = 30;

/// Where unsafe may stand: four places of the library, and the ring of the bare loop that it is compared
/// with, for no safe crate pushes a submission entry.
const UNSAFE: [&str; 5] =
    ["src/block", "src/io/uring", "src/io/low_water", "src/sink/mmap", "benches/limit/ring"];
/// Where the ring may be named.
const RING: [&str; 2] = ["src/io/uring", "src/engine"];
/// Who prints and exits.
const PRINTERS: [&str; 3] = ["src/main", "src/cli", "src/report"];
/// Who may name standard output as a descriptor.
const STREAM: [&str; 1] = ["src/sink/stream"];
/// Who may ask for the date: what reads or writes dates of HTTP. Anything else measures time, and dates jump.
const DATES: [&str; 3] = ["src/lane/ask", "src/mirror/page", "src/serve"];
/// How far above an `unsafe` its reason may begin, in lines.
const REASON_LINES: usize = 6;

const PRINTS: [&str; 5] = ["print!", "println!", "eprint!", "eprintln!", "process::exit"];
const DESCRIPTORS: [&str; 4] = ["io::stdout", "io::stderr", "stdout()", "stderr()"];

/// Unsafe stands in five places only.
pub(crate) fn unsafe_places(source: &Source) -> Vec<String> {
    if source.is_in(&UNSAFE) {
        return Vec::new();
    }
    let remedy =
        "no `unsafe` here: use a safe crate, or one of block, io/uring, io/low_water, sink/mmap";
    let found = source.all_code().filter(|(_, code)| has_word(code, "unsafe"));
    found.map(|(line, _)| source.at(line, remedy)).collect()
}

/// An unsafe block or impl has its reason in the lines above.
pub(crate) fn unsafe_reasons(source: &Source) -> Vec<String> {
    let reasoned = |line: usize| {
        let above = &source.comments[line.saturating_sub(REASON_LINES)..=line];
        above.iter().any(|comment| comment.contains("SAFETY:"))
    };
    let found =
        source.all_code().filter(|(line, _)| opens_unsafe(source, *line) && !reasoned(*line));
    found
        .map(|(line, _)| source.at(line, "write `// SAFETY:` above: the claim, and who upholds it"))
        .collect()
}

/// The number of unsafe blocks outside of tests.
pub(crate) fn unsafe_blocks(source: &Source) -> usize {
    let open = |line: &usize| opens_unsafe(source, *line) && !has_word(&source.code[*line], "impl");
    source.own_code().filter(|(line, _)| open(line)).count()
}

/// Whether an unsafe block or impl begins on a line.
fn opens_unsafe(source: &Source, line: usize) -> bool {
    let Some(at) = word_at(&source.code[line], "unsafe") else { return false };
    let rest = source.code[line][at + "unsafe".len()..].trim_start();
    let next = source.code.get(line + 1).map_or("", |next| next.trim_start());
    let rest = if rest.is_empty() { next } else { rest };
    rest.starts_with('{') || rest.starts_with("impl")
}

/// The crate of the ring can be replaced in one file and the start of the runtime.
pub(crate) fn ring(source: &Source) -> Vec<String> {
    if source.is_in(&RING) {
        return Vec::new();
    }
    let names = |code: &str| has_word(code, "tokio_uring") || has_word(code, "io_uring");
    let found = source.all_code().filter(|(_, code)| names(code));
    found.map(|(line, _)| source.at(line, "name the ring in io/uring or engine only")).collect()
}

/// The library never prints and never exits.
pub(crate) fn printing(source: &Source) -> Vec<String> {
    if source.is_in(&PRINTERS) {
        return Vec::new();
    }
    let descriptors = if source.is_in(&STREAM) { &[] } else { &DESCRIPTORS[..] };
    let judge = |(line, code): (usize, &str)| {
        let word = PRINTS.iter().chain(descriptors).find(|word| has_word(code, word))?;
        let remedy =
            format!("no `{word}` in the library: return an error or tell the meter an event");
        Some(source.at(line, &remedy))
    };
    source.own_code().filter_map(judge).collect()
}

/// Time is measured by clocks that do not jump (F31).
pub(crate) fn dates(source: &Source) -> Vec<String> {
    if source.is_in(&DATES) {
        return Vec::new();
    }
    let found = source.own_code().filter(|(_, code)| has_word(code, "SystemTime::now"));
    found.map(|(line, _)| source.at(line, "measure time by `Instant`: dates jump")).collect()
}

/// Outside of tests nothing unwraps, and an `expect` gives its proof.
pub(crate) fn unwraps(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, code) in source.own_code() {
        if code.contains(".unwrap()") {
            findings.push(
                source.at(line, "no `.unwrap()`: return the error, or `.expect(\"proof: ...\")`"),
            );
        }
        for (at, call) in code.match_indices(".expect(") {
            if !is_proven(source, line, at + call.len()) {
                findings.push(
                    source.at(line, "an `.expect` begins with `proof:` and says why it holds"),
                );
            }
        }
    }
    findings
}

/// Whether the argument that begins at a column, or on the next line, is a proof, or is no string at all.
fn is_proven(source: &Source, line: usize, column: usize) -> bool {
    let rest: String = source.raw[line].chars().skip(column).collect();
    let next = source.raw.get(line + 1).map_or("", String::as_str);
    let argument = if rest.trim().is_empty() { next.trim() } else { rest.trim() };
    !argument.starts_with('"') || argument.starts_with("\"proof:")
}

#[cfg(test)]
mod samples {
    use super::*;
    use crate::source::found;

    #[test]
    fn unsafe_is_found_in_code_and_only_there() {
        let text = "// unsafe\nlet a = \"unsafe\";\n#![deny(unsafe_code)]\nunsafe { x() }\n";
        assert_eq!(found("src/wire/raw.rs", text, unsafe_places), [4]);
        assert_eq!(found("tests/it/main.rs", text, unsafe_places), [4]);
        assert!(found("src/io/uring.rs", text, unsafe_places).is_empty());
        assert!(found("benches/limit/ring.rs", text, unsafe_places).is_empty());
        assert_eq!(found("benches/limit/bare.rs", text, unsafe_places), [4]);
        assert_eq!(found("src/io/epoll.rs", text, unsafe_places), [4]);
    }

    #[test]
    fn an_unsafe_without_a_reason_is_found() {
        let bad = "fn f() {\n    let x = unsafe { y() };\n}\nunsafe impl Send for X {}\n";
        assert_eq!(found("src/block.rs", bad, unsafe_reasons), [2, 4]);
        let fine = "// SAFETY: y upholds it.\nlet x =\n    unsafe { y() };\nunsafe fn z() {}\n";
        assert!(found("src/block.rs", fine, unsafe_reasons).is_empty());
        let quoted = "let a = \"SAFETY:\";\nunsafe { y() }\n";
        assert_eq!(found("src/block.rs", quoted, unsafe_reasons), [2]);
    }

    #[test]
    fn blocks_are_counted_and_impls_are_not() {
        let text = "unsafe { a() }\nunsafe impl Send for X {}\nlet b = unsafe\n{ c() };\nunsafe fn d() {}\n";
        assert_eq!(unsafe_blocks(&Source::new("src/sys.rs", text)), 2);
    }

    #[test]
    fn the_ring_is_found_outside_its_place() {
        assert_eq!(found("src/lane.rs", "// io_uring\nuse tokio_uring::fs;\n", ring), [2]);
        assert!(found("src/engine/start.rs", "use tokio_uring::Runtime;\n", ring).is_empty());
    }

    #[test]
    fn a_date_is_found_where_time_is_measured() {
        let text = "let now = SystemTime::now();\n";
        assert_eq!(found("src/board/mod.rs", text, dates), [1]);
        assert!(found("src/serve/mod.rs", text, dates).is_empty());
    }

    #[test]
    fn printing_is_found_outside_the_faces() {
        let bad = "println!(\"x\");\nstd::process::exit(1);\nlet out = std::io::stdout();\n";
        assert_eq!(found("src/fetch.rs", bad, printing), [1, 2, 3]);
        assert_eq!(found("src/sink/stream.rs", bad, printing), [1, 2]);
        assert!(found("src/report/bar.rs", bad, printing).is_empty());
    }

    #[test]
    fn an_unwrap_or_an_expect_without_a_proof_is_found() {
        let bad = "a.unwrap();\nb.expect(\"fine\");\nc.expect(\n    \"surely\",\n);\n";
        assert_eq!(found("src/fetch.rs", bad, unwraps), [1, 2, 3]);
        let fine = "a.expect(\"proof: checked above\");\nb.unwrap_or(1);\nc.expect(token);\n\
                    d.expect(\n    \"proof: never\",\n);\n\
                    #[cfg(test)]\nmod tests { fn f() { a.unwrap() } }\n";
        assert!(found("src/fetch.rs", fine, unwraps).is_empty());
    }
}
