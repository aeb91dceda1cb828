//! Which words may not stand: what is left for later, what is not our noun, what names a machine.

use crate::source::{Source, has_word, is_letter};

/// Macros of code that is not finished.
const MACROS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
/// Notes of comments that are not finished.
const NOTES: [&str; 3] = ["TODO", "FIXME", "XXX"];
/// What a test may not do instead of waiting for what it needs.
const SLEEPS: [&str; 2] = ["thread::sleep", "time::sleep"];
/// Words in identifiers, and what we call the thing. `segment` in small letters is left to the paths of URLs.
const NOUNS: [(&str, &str); 8] = [
    ("Worker", "Lane"),
    ("worker", "lane"),
    ("Segment", "Lease"),
    ("Piece", "Block"),
    ("piece", "block"),
    ("Manager", "the noun of what it does"),
    ("chunk_size", "block_size"),
    ("mirror_url", "alternate"),
];
/// Folders of particular machines, cut so that this file does not name them.
const MACHINES: [&str; 4] =
    [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "farm/"), concat!("/", "tmp/lab")];

/// Nothing is left for later.
pub(crate) fn unfinished(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, code) in source.all_code() {
        let in_code = MACROS.iter().find(|word| has_word(code, word));
        let in_comment = NOTES.iter().find(|word| has_word(&source.comments[line], word));
        if let Some(word) = in_code.or(in_comment) {
            findings.push(source.at(line, &format!("`{word}`: do it now, or leave it out")));
        }
    }
    findings
}

/// Every test runs, and waits for what it needs.
pub(crate) fn idle_tests(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, code) in source.all_code() {
        if code.contains("#[ignore") {
            findings.push(source.at(line, "no ignored test: make it run, or remove it"));
        }
        let in_test = source.test[line] || source.path.starts_with("tests/");
        if in_test && SLEEPS.iter().any(|word| has_word(code, word)) {
            findings.push(source.at(line, "no sleep in a test: wait for the event itself"));
        }
    }
    findings
}

/// One noun for each thing.
pub(crate) fn nouns(source: &Source) -> Vec<String> {
    let judge = |(line, code): (usize, &str)| {
        let (word, noun) = NOUNS.into_iter().find(|(word, _)| has_noun(code, word))?;
        Some(source.at(line, &format!("`{word}` is not a word of ours: say {noun}")))
    };
    source.all_code().filter_map(judge).collect()
}

/// Whether an identifier contains `word`: in capitals as one of its words (`LaneWorkers`), else as a whole.
fn has_noun(code: &str, word: &str) -> bool {
    if !word.starts_with(char::is_uppercase) {
        return has_word(code, word);
    }
    code.match_indices(word).any(|(at, _)| {
        let after = code[at + word.len()..].trim_start_matches('s').chars().next();
        !after.is_some_and(char::is_lowercase)
    })
}

/// No path of a machine that only some of us have.
pub(crate) fn machine_paths(source: &Source) -> Vec<String> {
    let names = |raw: &str, path: &str| {
        raw.match_indices(path).any(|(at, _)| {
            let before = raw[..at].chars().next_back();
            !before.is_some_and(|char| is_letter(char) || ".-}>".contains(char))
        })
    };
    let found = source.raw.iter().enumerate();
    let found = found.filter(|(_, raw)| MACHINES.iter().any(|path| names(raw, path)));
    found
        .map(|(line, _)| source.at(line, "no path of one machine: use a scratch directory"))
        .collect()
}

#[cfg(test)]
mod samples {
    use super::*;
    use crate::source::found;

    #[test]
    fn what_is_left_for_later_is_found() {
        let bad = "todo!();\n// TODO: more\n/* FIXME */\ndbg!(x);\n";
        assert_eq!(found("src/a.rs", bad, unfinished), [1, 2, 3, 4]);
        assert!(found("src/a.rs", "let a = \"TODO\";\nlet todo = 1;\n", unfinished).is_empty());
    }

    #[test]
    fn an_idle_test_is_found() {
        let bad = "#[test]\n#[ignore = \"slow\"]\nfn f() {\n    std::thread::sleep(a);\n}\n";
        assert_eq!(found("tests/it/a.rs", bad, idle_tests), [2, 4]);
        assert_eq!(found("src/a.rs", bad, idle_tests), [2]);
        let inside =
            "tokio::time::sleep(a);\n#[cfg(test)]\nmod tests {\n    tokio::time::sleep(a);\n}\n";
        assert_eq!(found("src/a.rs", inside, idle_tests), [4]);
    }

    #[test]
    fn a_second_noun_is_found() {
        let bad = "struct LaneWorker;\nlet a: Vec<Pieces>;\nfn f(chunk_size: u64) {}\n";
        assert_eq!(found("src/a.rs", bad, nouns), [1, 2, 3]);
        let fine = "// A Worker.\nurl.path_segments();\nlet workers_comp = Piecemeal;\n";
        assert!(found("src/a.rs", fine, nouns).is_empty());
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let [first, second, ..] = MACHINES;
        let text =
            format!("cd {first}x\nopen(\"{second}y\")\nhttp://host{first}\n$dir{{}}{second}\n");
        assert_eq!(found("scripts/a", &text, machine_paths), [1, 2]);
    }
}
