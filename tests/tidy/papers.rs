//! What `Cargo.toml` and the page of limits have to say for each of their lines.

use crate::source::{Source, has_word};

/// Dependencies that stay at one version, because little upkeep may change more than it says.
const PINNED: [(&str, &str); 1] = [("tokio-uring", "=0.5.0")];

/// Every dependency has its reason on its line, and those that are pinned stay so.
pub(crate) fn dependencies(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    let mut listed = false;
    for (line, raw) in source.raw.iter().enumerate() {
        if raw.starts_with('[') {
            listed = raw.trim_end().ends_with("dependencies]");
            continue;
        }
        let Some((name, rest)) = raw.split_once('=').filter(|_| listed && !raw.starts_with('#'))
        else {
            continue;
        };
        let name = name.trim();
        if rest.split_once('#').is_none_or(|(_, reason)| reason.trim().is_empty()) {
            findings.push(source.at(line, &format!("say after a `#` why we need {name}")));
        }
        let pin = PINNED.iter().find(|(pinned, _)| *pinned == name);
        if let Some((_, version)) =
            pin.filter(|(_, version)| !rest.contains(&format!("\"{version}\"")))
        {
            findings.push(source.at(line, &format!("pin {name} to \"{version}\"")));
        }
    }
    findings
}

/// A limit that nothing names is a bound that does not bind.
pub(crate) fn unused_limits(files: &[Source]) -> Vec<String> {
    let is_limits = |file: &&Source| file.path == "src/limits.rs";
    let Some(limits) = files.iter().find(is_limits) else {
        return vec!["src/limits.rs:1: the page of limits is missing".into()];
    };
    let used = |name: &str| {
        let others = files.iter().filter(|file| !is_limits(file));
        others.flat_map(Source::own_code).any(|(_, code)| has_word(code, name))
    };
    let constants = limits.own_code().filter_map(|(line, code)| {
        let (name, _) = code.trim_start().strip_prefix("pub const ")?.split_once(':')?;
        Some((line, name))
    });
    let unused = constants.filter(|(_, name)| !used(name));
    unused
        .map(|(line, name)| limits.at(line, &format!("{name} bounds nothing: use it or remove it")))
        .collect()
}

#[cfg(test)]
mod samples {
    use super::*;
    use crate::source::found;

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let text = "[package]\nname = \"x\"\n[dependencies]\n# A comment.\na = \"1\"\nb = \"1\" # for b\n\
                    c = { version = \"1\", features = [] } #\n[profile.dev]\ndebug = 1\n";
        assert_eq!(found("Cargo.toml", text, dependencies), [5, 7]);
    }

    #[test]
    fn a_loosened_pin_is_found() {
        let text = "[dependencies]\ntokio-uring = \"0.5\" # the ring\ntokio = \"1\" # sockets\n";
        assert_eq!(found("Cargo.toml", text, dependencies), [2]);
    }

    #[test]
    fn a_limit_that_only_tests_and_comments_name_is_found() {
        let files = [
            Source::new(
                "src/limits.rs",
                "pub const A: u32 = 1;\npub const B: u32 = A;\npub const C: u32 = 2;\n",
            ),
            Source::new("src/a.rs", "// A\nf(limits::B);\n#[cfg(test)]\nmod tests { use C; }\n"),
        ];
        let findings = unused_limits(&files);
        assert_eq!(findings.len(), 2);
        assert!(
            findings[0].starts_with("src/limits.rs:1:")
                && findings[1].starts_with("src/limits.rs:3:")
        );
        assert_eq!(unused_limits(&files[1..]).len(), 1);
    }
}
