//! A source file as the rules see it: line by line, code apart from comments, tests apart from the rest.
//!
//! It is no parser. Its invariant: all views of a file have the same lines and columns; what does not belong
//! to a view is blank there.

use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub(crate) struct Source {
    /// Its path from the root of the project.
    pub(crate) path: String,
    /// The lines as they are.
    pub(crate) raw: Vec<String>,
    /// The code alone, in ASCII: comments and the insides of literals are blank.
    pub(crate) code: Vec<String>,
    /// The comments alone.
    pub(crate) comments: Vec<String>,
    /// Whether a line belongs to a test of the library.
    pub(crate) test: Vec<bool>,
    /// Whether the last line ends as a line should.
    pub(crate) ends_clean: bool,
}

impl Source {
    /// Splits a text into its views; a path that does not end in `.rs` has no code and no comments.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let rust = path.ends_with(".rs");
        let (code, comments) = if rust { split(text) } else { (blank(text), blank(text)) };
        let code = lines(&code);
        let test = test_lines(&code);
        let ends_clean = text.is_empty() || (text.ends_with('\n') && !text.ends_with("\n\n"));
        Self {
            path: path.into(),
            raw: lines(text),
            code,
            comments: lines(&comments),
            test,
            ends_clean,
        }
    }

    /// Whether it is Rust, and not a script or a page.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// A finding at a line, counted from 0.
    pub(crate) fn at(&self, line: usize, remedy: &str) -> String {
        format!("{}:{}: {remedy}", self.path, line + 1)
    }

    /// The lines of code outside of tests, with their numbers from 0.
    pub(crate) fn own_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.all_code().filter(|(line, _)| !self.test[*line])
    }

    /// All lines of code, with their numbers from 0.
    pub(crate) fn all_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().map(String::as_str).enumerate()
    }

    /// The module right below the crate root: `io` for `src/io/uring.rs`; `None` outside of `src`.
    pub(crate) fn module(&self) -> Option<&str> {
        let inner = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        Some(inner.split('/').next().unwrap_or(inner))
    }

    /// The files that may hold the modules of tests this file declares, as in `#[cfg(test)] mod tests;`.
    fn declared_tests(&self) -> Vec<String> {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let inner = match file {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_string(),
            _ => self.path.trim_end_matches(".rs").to_string(),
        };
        let mut paths = Vec::new();
        for (line, code) in self.all_code().filter(|(line, _)| self.test[*line]) {
            let raw = self.raw[line].trim();
            if let Some(path) =
                raw.strip_prefix("#[path = \"").and_then(|raw| raw.strip_suffix("\"]"))
            {
                paths.push(format!("{folder}/{path}"));
            } else if let Some(name) =
                code.trim().strip_prefix("mod ").and_then(|code| code.strip_suffix(';'))
            {
                paths.extend([format!("{inner}/{name}.rs"), format!("{inner}/{name}/mod.rs")]);
            }
        }
        paths
    }

    /// Whether the file is one of `places`: a file with or without `.rs`, or a folder.
    pub(crate) fn is_in(&self, places: &[&str]) -> bool {
        let path = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        places.iter().any(|place| {
            path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// Inputs of fuzz targets, which may be anything, and what a build there leaves.
const NOT_OURS: [&str; 3] = ["tests/fuzz/corpus", "tests/fuzz/target", "tests/fuzz/artifacts"];

/// All text files at or below `places`, which are paths from the root of the project; missing ones are empty.
pub(crate) fn tree(places: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = places.iter().map(|place| root.join(place)).collect();
    let mut found = Vec::new();
    while let Some(path) = paths.pop() {
        if NOT_OURS.iter().any(|place| path == root.join(place)) {
            continue;
        }
        if let Ok(entries) = fs::read_dir(&path) {
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.push(Source::new(name, &text));
        }
    }
    let tests: Vec<String> = found.iter().flat_map(Source::declared_tests).collect();
    for source in found.iter_mut().filter(|source| tests.contains(&source.path)) {
        source.test.fill(true);
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Whether `word` stands in `line` by itself; edges of `word` that are no letters match anywhere.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    word_at(line, word).is_some()
}

/// Where `word` first stands in `line` by itself.
pub(crate) fn word_at(line: &str, word: &str) -> Option<usize> {
    let (first, last) = (word.starts_with(is_letter), word.ends_with(is_letter));
    line.match_indices(word).map(|(at, _)| at).find(|at| {
        let before = line[..*at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !(first && before.is_some_and(is_letter) || last && after.is_some_and(is_letter))
    })
}

/// Whether a character belongs to identifiers.
pub(crate) fn is_letter(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// The position of the brace that closes the first one at or after `from`, or of a `;` that stands before any
/// brace outside of parentheses and brackets.
pub(crate) fn item_end(code: &str, from: usize) -> Option<(usize, bool)> {
    let (mut braces, mut others) = (0_u32, 0_u32);
    for (at, char) in code.char_indices().skip_while(|(at, _)| *at < from) {
        match char {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return Some((at, true)),
            '}' => braces -= 1,
            ';' if braces == 0 && others == 0 => return Some((at, false)),
            _ => {}
        }
    }
    None
}

fn test_lines(code: &[String]) -> Vec<bool> {
    let mut test = vec![false; code.len()];
    let text = code.join("\n");
    for (at, mark) in text.match_indices("#[cfg(test)]") {
        let end = item_end(&text, at + mark.len()).map_or(text.len(), |(end, _)| end);
        let line_of = |at: usize| text[..at].matches('\n').count();
        test[line_of(at)..=line_of(end)].fill(true);
    }
    test
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(String::from).collect()
}

fn blank(text: &str) -> String {
    text.chars().map(|char| if char == '\n' { char } else { ' ' }).collect()
}

/// What a character belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Code,
    Comment,
    Literal,
}

/// The code and the comments of a text, as two texts of the same shape.
fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (String::new(), String::new());
    let mut at = 0;
    while at < chars.len() {
        let (part, length) = token(&chars, at);
        for (offset, char) in chars[at..at + length].iter().enumerate() {
            let edge = offset == 0 || offset + 1 == length;
            let shown = if char.is_ascii() { *char } else { '_' };
            let (in_code, in_comments) = match part {
                Part::Code => (shown, ' '),
                Part::Literal if edge => (shown, ' '),
                Part::Literal => (' ', ' '),
                Part::Comment => (' ', *char),
            };
            code.push(if *char == '\n' { '\n' } else { in_code });
            comments.push(if *char == '\n' { '\n' } else { in_comments });
        }
        at += length;
    }
    (code, comments)
}

/// What begins at `at`, and how long it is; code comes a character or an identifier at a time.
fn token(chars: &[char], at: usize) -> (Part, usize) {
    let rest = &chars[at..];
    let pair = (rest[0], rest.get(1).copied().unwrap_or('\n'));
    match pair {
        ('/', '/') => (Part::Comment, rest.iter().take_while(|char| **char != '\n').count()),
        ('/', '*') => (Part::Comment, block_comment(rest)),
        ('"', _) => (Part::Literal, quoted(rest, '"')),
        ('\'', '\\') => (Part::Literal, quoted(rest, '\'')),
        ('\'', _) if rest.get(2) == Some(&'\'') => (Part::Literal, 3),
        (first, _) if is_letter(first) => identifier(rest),
        _ => (Part::Code, 1),
    }
}

/// An identifier, or the raw string that it begins: `r"`, `br#"`.
fn identifier(rest: &[char]) -> (Part, usize) {
    let length = rest.iter().take_while(|char| is_letter(**char)).count();
    let hashes = rest[length..].iter().take_while(|char| **char == '#').count();
    let name: String = rest[..length].iter().collect();
    let open = length + hashes;
    if !["r", "br", "cr"].contains(&name.as_str()) || rest.get(open) != Some(&'"') {
        return (Part::Code, length);
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let inner = rest[open + 1..].windows(close.len()).position(|window| window == close);
    (Part::Literal, inner.map_or(rest.len(), |inner| open + 1 + inner + close.len()))
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

/// The line numbers, from 1, that a rule finds in a sample.
pub(crate) fn found(path: &str, text: &str, rule: impl Fn(&Source) -> Vec<String>) -> Vec<usize> {
    let number = |finding: String| finding.split(':').nth(1).unwrap().parse().unwrap();
    rule(&Source::new(path, text)).into_iter().map(number).collect()
}

#[test]
fn code_comments_and_literals_come_apart() {
    let text = "let a = \"x // \\\" y\"; // z \"\n\
                let b = r#\"un\"safe\"#; /* u /* v */\n w */ c('\"', '\\'', &'a str)";
    let source = Source::new("src/a.rs", text);
    assert_eq!(source.code[0].trim_end(), "let a = \"         \";");
    assert_eq!(source.comments[0].trim(), "// z \"");
    assert_eq!(source.code[1].trim_end(), "let b = r          #;");
    assert_eq!(source.comments[1].trim(), "/* u /* v */");
    assert_eq!(source.code[2].trim(), "c(' ', '  ', &'a str)");
    for (raw, code) in source.raw.iter().zip(&source.code) {
        assert_eq!(raw.chars().count(), code.chars().count());
    }
}

#[test]
fn test_items_are_told_from_the_rest() {
    let text = "a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\nmod t {\n fn f() {}\n}\nc\n";
    let test = Source::new("src/a.rs", text).test;
    assert_eq!(test, [false, true, true, false, true, true, true, true, false]);
}

#[test]
fn modules_of_tests_in_files_of_their_own_are_told_too() {
    let text = "mod b;\n#[cfg(test)]\nmod t;\n#[cfg(test)]\n#[path = \"c_tests.rs\"]\nmod c;\n";
    let found = Source::new("src/a.rs", text).declared_tests();
    assert!(found.contains(&"src/a/t.rs".into()) && found.contains(&"src/c_tests.rs".into()));
    assert!(!found.contains(&"src/a/b.rs".into()));
    assert!(Source::new("src/a/mod.rs", text).declared_tests().contains(&"src/a/t.rs".into()));
}

#[test]
fn words_stand_by_themselves() {
    assert!(has_word("a unsafe {", "unsafe") && has_word("x.await?", ".await"));
    assert!(!has_word("unsafe_code", "unsafe") && !has_word("reprint!(", "print!"));
}

#[test]
fn a_file_knows_its_module_and_its_place() {
    let source = Source::new("src/io/uring.rs", "");
    assert_eq!(source.module(), Some("io"));
    assert!(
        source.is_in(&["src/io/uring"]) && source.is_in(&["src/io"]) && !source.is_in(&["src/i"])
    );
    assert_eq!(Source::new("src/plan.rs", "").module(), Some("plan"));
    assert_eq!(Source::new("tests/it/main.rs", "").module(), None);
}
