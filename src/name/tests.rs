//! Names against a corpus of hostile ones, and the promise of the module against arbitrary text.

use std::fs::File;

use proptest::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2, unlinkat};

use super::*;

/// Checks what every name we make up must be.
fn is_one_component(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(std::path::Component::Normal(only)) if only == name)
        && components.next().is_none()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with(['.', '-', ' '])
        && !name.ends_with(['.', ' '])
        && !name.contains(['/', '\\'])
        && !name.chars().any(is_hidden)
}

/// Checks that the name makes a new file right in a directory, through nothing that leads elsewhere.
fn opens_in(directory: &File, name: &str) -> bool {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(directory, name, flags, Mode::RUSR, beneath).is_ok()
        && unlinkat(directory, name, AtFlags::empty()).is_ok()
}

/// A directory to open names in; it is gone from the disk at once where nobody looks into it.
fn directory() -> (tempfile::TempDir, File) {
    let scratch = tempfile::tempdir().unwrap();
    let opened = File::open(scratch.path()).unwrap();
    (scratch, opened)
}

/// What a hostile or careless server may propose, and what becomes of it.
const CORPUS: &[(&str, Option<&str>)] = &[
    ("", None),
    (".", None),
    ("..", None),
    ("...", None),
    ("/", None),
    ("\\", None),
    ("//", None),
    ("a/", None),
    ("a\\", None),
    ("../", None),
    ("../..", None),
    ("..\\..", None),
    ("-", None),
    ("--", None),
    (" ", None),
    ("\t\r\n", None),
    ("\0", None),
    ("\u{a0}", None),
    ("\u{3000}\u{2003}", None),
    ("\u{3164}", None),
    ("\u{200b}", None),
    ("\u{202e}\u{202c}", None),
    (". . .", None),
    (".-.-", None),
    (".\u{200b}.", None),
    ("\u{feff}..", None),
    ("a/\u{200b}", None),
    ("file", Some("file")),
    ("../../etc/passwd", Some("passwd")),
    ("/etc/passwd", Some("passwd")),
    ("..\\..\\windows\\system32\\a.dll", Some("a.dll")),
    ("C:\\a.txt", Some("a.txt")),
    ("C:a.txt", Some("C:a.txt")),
    ("..\\../mixed", Some("mixed")),
    ("\\\\host\\share\\x", Some("x")),
    (".bashrc", Some("bashrc")),
    ("...bashrc", Some("bashrc")),
    (".ssh/authorized_keys", Some("authorized_keys")),
    (" .profile", Some("profile")),
    (".\u{200b}.profile", Some("profile")),
    ("\u{202e}.profile", Some("profile")),
    (".ringpull-0.part", Some("ringpull-0.part")),
    ("-rf", Some("rf")),
    ("--checkpoint-action=exec=sh", Some("checkpoint-action=exec=sh")),
    ("-. -x", Some("x")),
    ("a.", Some("a")),
    ("a. . ", Some("a")),
    ("a ", Some("a")),
    ("a\u{a0}", Some("a")),
    ("a\nb", Some("ab")),
    ("a\r\nSet-Cookie: x", Some("aSet-Cookie: x")),
    ("a\0b", Some("ab")),
    ("a\0/b", Some("b")),
    ("a\u{1b}[31mb", Some("a[31mb")),
    ("a\u{9b}31mb", Some("a31mb")),
    ("a\u{7}b\u{7f}", Some("ab")),
    ("photo\u{202e}gpj.exe", Some("photogpj.exe")),
    ("a\u{2066}b\u{2069}c", Some("abc")),
    ("pay\u{200b}pal\u{200d}", Some("paypal")),
    ("a\u{ad}b", Some("ab")),
    ("a\u{2028}b\u{2029}", Some("ab")),
    ("a\u{e0041}b", Some("ab")),
    ("a b", Some("a b")),
    ("a..b", Some("a..b")),
    ("~root", Some("~root")),
    ("$(reboot)", Some("$(reboot)")),
    ("a;b|c&d", Some("a;b|c&d")),
    ("%2e%2e%2fx", Some("%2e%2e%2fx")),
    ("a\u{2215}b", Some("a\u{2215}b")),
    ("\u{e9}t\u{e9}.txt", Some("\u{e9}t\u{e9}.txt")),
];

#[test]
fn hostile_names_become_harmless() {
    for (name, cleaned) in CORPUS {
        assert_eq!(clean(name).as_deref(), *cleaned, "{name:?}");
        let (_scratch, directory) = directory();
        assert!(cleaned.is_none_or(|name| opens_in(&directory, name)), "{name:?}");
    }
}

#[test]
fn urls_give_their_last_segment() {
    for (url, name) in [
        ("http://h/a/b.iso?x=/y#/z", Some("b.iso")),
        ("http://h/a%20b.iso", Some("a b.iso")),
        ("http://h/", None),
        ("http://h", None),
        ("http://h/dir/", None),
        ("http://h/a/%2e%2e", None),
        ("http://h/..%2f..%2fetc%2fpasswd", Some("passwd")),
        ("http://h/x%5cy", Some("y")),
        ("http://h/x%252fy", Some("x%2fy")),
        ("http://h/.htaccess", Some("htaccess")),
        ("http://h/%00", None),
        ("http://h/caf%C3%A9", Some("caf\u{e9}")),
        ("http://h/caf%E9.txt", Some("caf%E9.txt")),
        ("http://h/%ff%fe", Some("%FF%FE")),
        ("http://h/100%", Some("100%")),
        ("http://h/a;v=1", Some("a;v=1")),
        ("mailto:a@b", None),
    ] {
        assert_eq!(from_url(&Url::parse(url).unwrap()).as_deref(), name, "{url}");
    }
}

#[test]
fn content_disposition_is_read_as_rfc_6266_says() {
    for (value, name) in [
        ("attachment", None),
        ("attachment;", None),
        ("attachment; filename=a.txt", Some("a.txt")),
        ("Attachment;FileName = \"a b.txt\" ; size=3", Some("a b.txt")),
        ("inline; size=3; filename=\"a;b.txt\"", Some("a;b.txt")),
        (r#"attachment; filename="say \"hi\".txt""#, Some("say \"hi\".txt")),
        ("attachment; filename=a b.txt", Some("a b.txt")),
        ("attachment; filename=one; filename=two", Some("one")),
        ("attachment; filename=\"unended", None),
        ("attachment; filename=", None),
        ("attachment; filename=\"\"", None),
        ("filename=a.txt", None),
        ("attachment; xfilename=a.txt", None),
        ("attachment; filename=\"a%20b.txt\"", Some("a%20b.txt")),
        ("attachment; filename*=UTF-8''%e2%82%ac%20rates; filename=rates", Some("\u{20ac} rates")),
        ("attachment; filename=rates; filename*=utf-8'en'%e2%82%ac", Some("\u{20ac}")),
        ("attachment; filename*=ISO-8859-1''caf%E9", Some("caf\u{e9}")),
        ("attachment; filename*=\"UTF-8''x.txt\"", Some("x.txt")),
        ("attachment; filename*=UTF-8''caf%E9; filename=plain", Some("plain")),
        ("attachment; filename*=UTF-8''50%; filename=plain", Some("plain")),
        ("attachment; filename*=UTF-8''%+5; filename=plain", Some("plain")),
        ("attachment; filename*=KOI8-R''x; filename=plain", Some("plain")),
        ("attachment; filename*=UTF-8''..; filename=plain", Some("plain")),
        ("attachment; filename*=x; filename=plain", Some("plain")),
        ("attachment; filename*=UTF-8''..%2f..%2f.bashrc", Some("bashrc")),
        ("attachment; filename=\"../../.ssh/authorized_keys\"", Some("authorized_keys")),
        ("attachment; filename*=UTF-8''a%0d%0ab", Some("ab")),
    ] {
        assert_eq!(from_disposition(value).as_deref(), name, "{value}");
    }
}

#[test]
fn long_names_keep_their_extension() {
    let long = "\u{e9}".repeat(300);
    assert_eq!(clean(&long).unwrap().len(), 200);
    let cut = clean(&format!("{long}.tar")).unwrap();
    assert!(cut.ends_with("\u{e9}.tar") && cut.len() == 200, "{cut}");
    assert_eq!(clean(&format!("a.{long}")).unwrap().len(), 200);
    assert_eq!(clean(&format!("{}x.tar", ". ".repeat(150))).unwrap(), "x.tar");
    assert_eq!(clean(&format!("x{}.tar", ". ".repeat(150))).unwrap(), "x.tar");
}

#[test]
fn our_own_names_depend_on_target_and_directory_alone() {
    let name = |name: &str, directory: &str| part(OsStr::new(name), Path::new(directory));
    let one = name("a", "/srv");
    assert_eq!(one.len(), ".ringpull-".len() + 24 + ".part".len());
    assert_eq!(one, name("a", "/srv"));
    assert_ne!(one, name("b", "/srv"));
    assert_ne!(name("ab", "c"), name("b", "ca"));
}

/// Text that is likelier than chance to hold what matters here.
fn text() -> impl Strategy<Value = String> {
    let nasty = r"[./\\ \-%a\x00\n\x{202e}\x{200b}\x{e9}\x{1f600};=']";
    prop_oneof![
        any::<String>(),
        proptest::string::string_regex(&format!("{nasty}{{0,20}}")).unwrap(),
        proptest::string::string_regex(&format!("{nasty}{{180,320}}")).unwrap(),
    ]
}

proptest! {
    #[test]
    fn cleaned_names_are_one_component(name in text()) {
        let (_scratch, directory) = directory();
        if let Some(cleaned) = clean(&name) {
            prop_assert!(is_one_component(&cleaned), "{:?}", cleaned);
            prop_assert!(opens_in(&directory, &cleaned), "{:?}", cleaned);
            prop_assert_eq!(clean(&cleaned), Some(cleaned));
        }
    }

    #[test]
    fn proposed_names_are_one_component(name in text(), encoded: Vec<u8>) {
        let encoded: String = encoded.iter().map(|byte| format!("%{byte:02x}")).collect();
        for value in [
            name.clone(),
            format!("attachment; filename={name}"),
            format!("attachment; filename=\"{name}\""),
            format!("attachment; filename*=UTF-8''{name}"),
            format!("attachment; filename*=ISO-8859-1''{encoded}"),
        ] {
            if let Some(name) = from_disposition(&value) {
                prop_assert!(is_one_component(&name), "{:?}", name);
            }
        }
    }

    #[test]
    fn names_out_of_urls_are_one_component(name in text(), encoded: Vec<u8>) {
        let encoded: String = encoded.iter().map(|byte| format!("%{byte:02x}")).collect();
        for path in [name, encoded] {
            let url = Url::parse(&format!("http://h/{path}")).unwrap();
            if let Some(name) = from_url(&url) {
                prop_assert!(is_one_component(&name), "{:?}", name);
            }
        }
    }
}
