//! The item that a report tells about.
//!
//! Invariant: what people see of it holds no credentials, no query values and no controls.

use std::path::Path;

use url::Url;

use super::words::shown_url;
use crate::error::Escaped;
use crate::name;
use crate::options::Target;

/// The item that is told about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The URL, as programs match it with what they asked for.
    pub(super) url: String,
    /// The URL as people may see it.
    pub(super) shown: String,
    /// The name of the file for people.
    pub(super) name: String,
    /// The path of the file, as far as it is known.
    pub(super) path: Option<String>,
}

impl Subject {
    /// What is known of an item before it runs; `url` holds no credentials. `named_by_server`
    /// leaves the path open, because the server has a say in it.
    pub(crate) fn new(url: &Url, target: &Target, named_by_server: bool) -> Self {
        let shown = shown_url(url);
        let mut subject = Self { url: url.to_string(), name: shown.clone(), shown, path: None };
        match target {
            Target::File(path) => subject.landed_at(path),
            Target::Dir(dir) => {
                if let Some(name) = name::from_url(url) {
                    subject.landed_at(&dir.join(name));
                }
            }
            Target::Stdout => {
                subject.name = "stdout".to_owned();
                subject.path = Some("-".to_owned());
            }
        }
        if named_by_server && matches!(target, Target::Dir(_)) {
            subject.path = None;
        }
        subject
    }

    /// Now the path is known.
    pub(super) fn landed_at(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        self.name = Escaped(&name).to_string();
        self.path = Some(path.to_string_lossy().into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(url: &str, target: &Target, named_by_server: bool) -> (String, Option<String>) {
        let subject = Subject::new(&Url::parse(url).unwrap(), target, named_by_server);
        (subject.name, subject.path)
    }

    #[test]
    fn a_file_is_named_by_the_option_else_by_the_url() {
        let dir = Target::Dir("d".into());
        assert_eq!(
            subject("http://h/x/f.iso?q", &dir, false),
            ("f.iso".into(), Some("d/f.iso".into()))
        );
        assert_eq!(subject("http://h/f.iso", &dir, true), ("f.iso".into(), None));
        assert_eq!(subject("http://h/", &dir, false), ("http://h/".into(), None));
        let file = Target::File("x/\x1b[31m".into());
        assert_eq!(subject("http://h/f", &file, true).0, "\\u{1b}[31m");
        assert_eq!(
            subject("http://h/f", &Target::Stdout, false),
            ("stdout".into(), Some("-".into()))
        );
    }
}
