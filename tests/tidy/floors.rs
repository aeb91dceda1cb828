//! Who may know whom: the table of floors, and what may not stand on the floor of the rules.

use crate::source::{Source, has_word, is_letter};

/// The floors from the ground up; a module knows its own floor and those below.
const FLOORS: [&[&str]; 6] = [
    &["error", "units", "meter", "limits"],
    &[
        "plan",
        "gate",
        "retry",
        "name",
        "tempo",
        "throttle",
        "pace",
        "alternates",
        "holds",
        "renewal",
        "stragglers",
        "courtesy",
    ],
    &["block", "io", "sys", "aside", "crash", "fault", "sorting"],
    &["wire", "sink", "ledger", "digest", "manifest", "tree"],
    &["options", "engine", "catalog", "board", "fetch", "lane", "mirror", "simulation"],
    &["lib", "downloader", "cli", "report", "serve", "fuzzing", "internals", "main"],
];
const RULES: usize = 1;
const SEAMS: usize = 3;
const FACES: usize = 5;

/// What a pure function has no use for.
const IMPURE: [&str; 10] = [
    "async",
    ".await",
    "tokio",
    "std::fs",
    "std::net",
    "std::env",
    "Instant::now",
    "SystemTime::now",
    "fastrand",
    "thread",
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

/// Every module is in the table.
pub(crate) fn known(source: &Source) -> Vec<String> {
    match source.module() {
        Some(module) if floor(module).is_none() => {
            vec![
                source.at(
                    0,
                    &format!("`{module}` has no floor: give it one in tests/tidy/floors.rs"),
                ),
            ]
        }
        _ => Vec::new(),
    }
}

/// Imports go to the same or a lower floor, and between the seams nowhere: only lane touches a wire and a
/// sink together.
pub(crate) fn imports(source: &Source) -> Vec<String> {
    let Some((own, own_floor)) = source.module().and_then(|own| Some((own, floor(own)?))) else {
        return Vec::new();
    };
    let names = roots(source).into_iter().filter(|(_, name)| name != own && own_floor < FACES);
    names
        .filter_map(|(line, name)| {
            let remedy = match floor(&name) {
                None if name.starts_with(char::is_uppercase) => {
                    format!("`{name}` comes by way of the crate root: name its module")
                }
                None => format!("`{name}` has no floor: give it one in tests/tidy/floors.rs"),
                Some(to) if to > own_floor => format!(
                    "`{own}` (floor {own_floor}) may not know `{name}` (floor {to}): hand it the value"
                ),
                // A stream is hashed as it is written; the digest itself knows no other seam.
                Some(SEAMS) if own_floor == SEAMS && name != "digest" => {
                    format!("`{own}` may not know `{name}`: seams meet in lane and fetch")
                }
                Some(_) => return None,
            };
            Some(source.at(line, &remedy))
        })
        .collect()
}

/// The floor of the rules has no I/O, no clock, no chance and no waiting; its tests may have.
pub(crate) fn pure(source: &Source) -> Vec<String> {
    if source.module().and_then(floor) != Some(RULES) {
        return Vec::new();
    }
    let judge =
        |(line, code): (usize, &str)| {
            let word = IMPURE.into_iter().find(|word| has_word(code, word))?;
            Some(source.at(
                line,
                &format!("rules are pure, so no `{word}`: take the value as an argument"),
            ))
        };
    source.own_code().filter_map(judge).collect()
}

/// The names that follow the crate root, with their lines: `crate::x`, `crate::{x, y::z}`, and `super::x`
/// where that is the root.
fn roots(source: &Source) -> Vec<(usize, String)> {
    let text = source.code.join("\n");
    let line_of = |at: usize| text[..at].matches('\n').count();
    let mut names = Vec::new();
    for (at, word) in text.match_indices("crate::") {
        if text[..at].chars().next_back().is_some_and(is_letter) {
            continue;
        }
        for (offset, name) in heads(&text[at + word.len()..]) {
            names.push((line_of(at + word.len() + offset), name));
        }
    }
    for (at, word) in text.match_indices("super::") {
        let line = line_of(at);
        let climbs = climb(&text[..at]) + 1;
        // Tests beside the code are one module deeper than their file.
        let nested = source.test[line] && !source.test.iter().all(|test| *test);
        let depth = depth(&source.path) + usize::from(nested);
        for (_, name) in heads(&text[at + word.len()..]) {
            if climbs >= depth && floor(&name).is_some() {
                names.push((line, name));
            }
        }
    }
    names
}

/// The first identifiers of what follows `crate::`: one, or one an entry of a group; with their offsets.
fn heads(rest: &str) -> Vec<(usize, String)> {
    let name_at = |at: usize| {
        let name: String = rest[at..].chars().take_while(|char| is_letter(*char)).collect();
        (at, name)
    };
    if !rest.starts_with('{') {
        return vec![name_at(0)];
    }
    let (mut depth, mut fresh, mut names) = (0_u32, false, Vec::new());
    for (at, char) in rest.char_indices() {
        match char {
            '{' => (depth, fresh) = (depth + 1, depth == 0),
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' => fresh = depth == 1,
            _ if fresh && is_letter(char) => {
                names.push(name_at(at));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

/// How many `super::` end a text.
fn climb(text: &str) -> usize {
    text.strip_suffix("super::").map_or(0, |rest| 1 + climb(rest))
}

/// How many modules a file is below the crate root.
fn depth(path: &str) -> usize {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').count()
}

#[cfg(test)]
mod samples {
    use super::*;
    use crate::source::found;

    #[test]
    fn an_unknown_module_asks_for_a_floor() {
        assert_eq!(found("src/attic.rs", "", known), [1]);
        assert_eq!(found("src/attic/mod.rs", "", known), [1]);
        assert!(found("src/io/uring.rs", "", known).is_empty());
        assert_eq!(found("src/plan.rs", "use crate::attic;\n", imports), [1]);
    }

    #[test]
    fn an_import_from_above_is_found_in_every_spelling() {
        for line in [
            "use crate::sink::Sink;",
            "use crate::{error::Error, sink};",
            "use crate::{\n error::{Error, Kind},\n sink::Sink};",
            "let sink = crate::sink::open();",
            "pub(crate) use super::sink::Sink;",
            "mod inner { use $crate::sink::x; }",
        ] {
            assert_eq!(found("src/plan.rs", line, imports).len(), 1, "{line}");
        }
        assert_eq!(found("src/io/uring.rs", "use super::super::sink::x;", imports), [1]);
        assert_eq!(found("src/io/mod.rs", "\nuse super::sink::x;", imports), [2]);
    }

    #[test]
    fn imports_that_fit_are_left_alone() {
        let fine =
            "//! [`crate::sink`]\nuse crate::error::Error;\nuse crate::plan::{sink, wire};\n";
        assert!(found("src/plan.rs", fine, imports).is_empty());
        assert!(found("src/plan/tests.rs", "use super::super::Plan;", imports).is_empty());
        assert!(found("src/io/uring.rs", "use super::wire;", imports).is_empty());
        assert!(
            found("src/lane.rs", "use crate::sink::S;\nuse crate::wire::W;", imports).is_empty()
        );
        assert!(found("src/lib.rs", "pub use crate::Anything;", imports).is_empty());
    }

    #[test]
    fn seams_do_not_know_each_other_nor_the_root() {
        assert_eq!(found("src/wire/dial.rs", "use crate::sink::Sink;", imports), [1]);
        assert!(found("src/wire/dial.rs", "use crate::wire::Client;", imports).is_empty());
        assert_eq!(found("src/wire/dial.rs", "use crate::Error;", imports), [1]);
    }

    #[test]
    fn a_rule_that_looks_at_the_clock_is_found() {
        let bad = "fn f() {\n    let now = Instant::now(); // a clock\n    x.await;\n}\n";
        assert_eq!(found("src/pace.rs", bad, pure), [2, 3]);
        assert!(found("src/lane.rs", bad, pure).is_empty());
        let fine = "//! No async here.\nuse std::time::Instant;\n\
                    #[cfg(test)]\nmod tests { a(Instant::now()) }\n";
        assert!(found("src/pace.rs", fine, pure).is_empty());
    }
}
