//! Holds the house rules: the floors, the sizes, and the words.
//!
//! It reads the sources as text and judges no design. Each rule is a function from one file to findings; a
//! finding names the place and the remedy, and the tests beside a rule show it failing on a bad sample.

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/papers.rs"]
mod papers;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use source::{Source, tree};

/// Places with Rust code, and all places with text of ours.
const RUST: [&str; 3] = ["src", "tests", "benches"];
const TEXT: [&str; 9] =
    ["src", "tests", "benches", "scripts", ".ci", ".cargo", ".github", "README.md", "CHANGELOG.md"];

/// Fails with all findings of a rule in the files below `places`.
fn hold(places: &[&str], rule: impl Fn(&Source) -> Vec<String>) {
    let findings: Vec<String> = tree(places).iter().flat_map(rule).collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn every_module_has_a_floor() {
    hold(&["src"], floors::known);
}

#[test]
fn a_file_imports_only_from_its_own_floor_or_below() {
    hold(&["src"], floors::imports);
}

#[test]
fn rules_are_pure() {
    hold(&["src"], floors::pure);
}

#[test]
fn unsafe_stays_in_its_four_places() {
    hold(&RUST, code::unsafe_places);
}

#[test]
fn every_unsafe_says_why_it_is_safe() {
    hold(&RUST, code::unsafe_reasons);
}

#[test]
fn unsafe_blocks_are_few() {
    let blocks: usize = tree(&["src"]).iter().map(code::unsafe_blocks).sum();
    let most = code::UNSAFE_BLOCKS_MAX;
    assert!(blocks <= most, "{blocks} unsafe blocks, at most {most}: find a safe crate for one");
}

#[test]
fn the_ring_is_named_in_one_place() {
    hold(&["src"], code::ring);
}

#[test]
fn only_the_faces_print_and_exit() {
    hold(&["src"], code::printing);
}

#[test]
fn f31_no_time_is_measured_by_dates() {
    hold(&["src"], code::dates);
}

#[test]
fn nothing_unwraps_without_a_proof() {
    hold(&["src"], code::unwraps);
}

#[test]
fn files_and_functions_are_short() {
    hold(&["src"], shape::file_length);
    hold(&["src"], shape::function_lengths);
}

#[test]
fn lines_are_short_and_end_clean() {
    hold(&RUST, shape::line_lengths);
    hold(&TEXT, shape::line_ends);
}

#[test]
fn every_file_says_what_it_is() {
    hold(&["src"], shape::head);
}

#[test]
fn nothing_is_left_for_later() {
    hold(&RUST, words::unfinished);
}

#[test]
fn no_test_is_ignored_or_sleeps() {
    hold(&RUST, words::idle_tests);
}

#[test]
fn things_are_called_by_their_nouns() {
    hold(&["src"], words::nouns);
}

#[test]
fn no_machine_is_named() {
    hold(&TEXT, words::machine_paths);
}

#[test]
fn every_limit_binds() {
    let files = tree(&["src"]);
    let findings = papers::unused_limits(&files);
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn every_dependency_has_its_reason() {
    hold(&["Cargo.toml", "tests/fuzz/Cargo.toml"], papers::dependencies);
}
