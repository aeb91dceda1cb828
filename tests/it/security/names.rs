//! Names that a URL, a redirect or a Content-Disposition field proposes: never a path, a hidden file or an
//! option, wherever they come from.
//!
//! One run tries all names at once, since only the directory is judged: what is there has the right bytes
//! and a harmless name, and nothing is anywhere else.

use std::collections::BTreeSet;
use std::fs;

use url::Url;

use super::{encoded, files_in};
use crate::harness::{Outcome, Run};
use crate::origin::{File, Origin, Reply, Running, assert_file_is};

/// Names in bytes, because a server may send any. Those that lead elsewhere say `canary`, so that a test
/// finds them there.
const NAMES: &[&[u8]] = &[
    b"",
    b".",
    b"..",
    b"...",
    b"....",
    b"/",
    b"//",
    b"\\",
    b"./",
    b"../",
    b"..\\",
    b"../..",
    b"../../..",
    b"../canary01",
    b"../../canary02",
    b"../../../../../../../../tmp/ringpull-canary03",
    b"..\\canary04",
    b"..\\..\\canary05",
    b"./../canary06",
    b"a/../../canary07",
    b"a/b/../../../canary08",
    b"....//....//canary09",
    b"..;/canary10",
    b".. /canary11",
    b"..\0/canary12",
    b"../canary13\0.txt",
    b"..\n/canary14",
    b"\xe2\x80\xae../canary15",
    b"..\xc0\xaf..\xc0\xafcanary16",
    b"..\xe0\x80\xaf..\xe0\x80\xafcanary17",
    b"\xc0\xae\xc0\xae/canary18",
    b"..\xe2\x88\x95canary19",
    b"..\xef\xbc\x8fcanary20",
    b"\xef\xbc\x8e\xef\xbc\x8e/canary21",
    b"%2e%2e%2fcanary22",
    b"%2e%2e/canary23",
    b"..%2fcanary24",
    b"..%5ccanary25",
    b"..%252fcanary26",
    b"%252e%252e%252fcanary27",
    b"..%c0%afcanary28",
    b"..%00/canary29",
    b"canary30%00.txt",
    b"/tmp/ringpull-canary31",
    b"//tmp/ringpull-canary32",
    b"/dev/shm/ringpull-canary33",
    b"file:///tmp/ringpull-canary34",
    b"C:\\canary35",
    b"C:canary36",
    b"\\\\host\\share\\canary37",
    b"\\\\?\\C:\\canary38",
    b"/proc/self/cwd/../canary39",
    b"~/canary40",
    b"~root/canary41",
    b"$HOME/canary42",
    b"a/canary43",
    b"~",
    b"~root",
    b"-",
    b"--",
    b"-o",
    b"-rf",
    b"--output=x",
    b"--checkpoint-action=exec=sh",
    b"-oProxyCommand=x",
    b" -o",
    b"\xe2\x80\x8b-o",
    b".bashrc",
    b".profile",
    b".ssh",
    b".ssh/authorized_keys",
    b".htaccess",
    b".git",
    b"..bashrc",
    b" .bashrc",
    b"\t.bashrc",
    b"\xc2\xa0.bashrc",
    b"\xe2\x80\x8b.bashrc",
    b"\xef\xbb\xbf.bashrc",
    b"\xe2\x80\xae.bashrc",
    b"\xc2\xad.bashrc",
    b"\0.bashrc",
    b"\x1b.bashrc",
    b"-.bashrc",
    b".-bashrc",
    b".ringpull-000000000000000000000000.part",
    b".ringpull-000000000000000000000000.ledger",
    b"a.",
    b"a..",
    b"a. . .",
    b"a ",
    b"a\xc2\xa0",
    b"a\xe3\x80\x80",
    b"CON",
    b"NUL",
    b"aux.txt",
    b"COM1",
    b"LPT1.log",
    b"PRN.",
    b"a:stream",
    b"a::$DATA",
    b"a\0b",
    b"a\nb",
    b"a\r\nX: y",
    b"a\tb",
    b"a\x07b\x08c\x1b[2Jd\x7fe",
    b"a\x1b]0;owned\x07",
    b"a\xc2\x9b31mb",
    b"photo\xe2\x80\xaegpj.exe",
    b"a\xe2\x81\xa6b\xe2\x81\xa9",
    b"a\xe2\x80\xa8b\xe2\x80\xa9c",
    b"a\xf3\xa0\x81\x81b",
    b"a\xe2\x80\x8bb\xe2\x80\x8d",
    b"e\xcc\x81",
    b"\xff",
    b"\xff\xfe",
    b"a\xff",
    b"caf\xe9",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf0\x9f\x98\x80",
    b"\xe3\x85\xa4",
    b"a;b",
    b"a\"b",
    b"a\\\"b",
    b"a'b",
    b"a`reboot`",
    b"$(reboot)",
    b"a|b&c>d<e",
    b"*",
    b"?",
    b"a%",
    b"%",
    b"%zz",
    b"100%25",
    &[b'a'; 199],
    &[b'a'; 255],
    &[b'a'; 256],
    &[b'a'; 4096],
    &[b'.'; 300],
    &[b' '; 300],
    &[b'-'; 300],
    &[0xc3; 300],
];

fn file() -> File {
    File::new(1000)
}

/// Fetches everything, a failure of one name notwithstanding, and judges what is there.
fn fetch_all(urls: &[String], args: &[&str]) -> Outcome {
    let run = Run::new(&urls[0]).args(&urls[1..]).args(args);
    let outcome = run.args(["--no-sync", "--retries", "0", "-c", "1", "-q"]).finish_talking();
    let work = outcome.path("").canonicalize().unwrap();
    for path in files_in(&work) {
        let name = path.file_name().unwrap().to_str().expect("a name is UTF-8");
        assert!(fs::symlink_metadata(&path).unwrap().is_file(), "{name}");
        assert_file_is(&path, &file());
        assert!(name.len() <= 200 && !name.starts_with(['.', '-', ' ']), "{name:?}");
        let steers = |char: char| char.is_control() || ('\u{2028}'..='\u{202e}').contains(&char);
        assert!(!name.contains(steers) && !name.ends_with(['.', ' ']), "{name:?}");
    }
    let around = files_in(&outcome.path(".."));
    assert_eq!(around.len(), 1, "beside the directory: {around:?}");
    for name in NAMES.iter().filter_map(|name| std::str::from_utf8(name).ok()) {
        let place = outcome.path(name);
        let leads_elsewhere = name.contains("canary") && name.contains(['/', '\\']);
        if leads_elsewhere && fs::symlink_metadata(&place).is_ok() {
            let parent = place.parent().unwrap().canonicalize().unwrap();
            assert_eq!(parent, work, "{name}");
        }
    }
    outcome
}

#[test]
fn the_corpus_is_large_and_has_no_twins() {
    let different: BTreeSet<_> = NAMES.iter().collect();
    assert!(different.len() >= 140 && different.len() == NAMES.len(), "{}", different.len());
}

#[test]
fn no_typed_url_names_a_file_elsewhere() {
    let mut paths = BTreeSet::new();
    let mut urls = Vec::new();
    for name in NAMES {
        let mut endings = vec![encoded(name), format!("deep/er/{}", encoded(name))];
        // An argument holds no zero; all else may be typed as it is.
        let text = std::str::from_utf8(name).ok().filter(|text| !text.contains('\0'));
        endings.extend(text.map(ToOwned::to_owned));
        for ending in endings {
            let Ok(url) = Url::parse(&format!("http://h/{ending}")) else { continue };
            paths.insert(url[url::Position::BeforePath..url::Position::AfterQuery].to_owned());
            urls.push(ending);
        }
    }
    let origin = paths.iter().fold(Origin::new(), |origin, path| origin.file(path, file()));
    let origin = origin.start();
    let urls: Vec<_> = urls.iter().map(|ending| origin.url(&format!("/{ending}"))).collect();
    let outcome = fetch_all(&urls, &[]);
    let found = files_in(&outcome.path("")).len();
    assert!(found >= 80, "only {found} files came: {}", outcome.stderr);
}

/// An origin that sends these Content-Disposition values, and the URLs that draw them.
fn proposing(values: Vec<Vec<u8>>) -> (Running, Vec<String>) {
    let count = values.len();
    let origin = values.into_iter().enumerate().fold(Origin::new(), |origin, (nth, value)| {
        origin.bent(&format!("/{nth}"), file(), move |_, mut reply| {
            let mut head = format!("HTTP/1.1 {}\r\n", reply.status).into_bytes();
            for line in &reply.lines {
                head.extend(line.bytes().chain(*b"\r\n"));
            }
            head.extend_from_slice(b"Content-Disposition: ");
            head.extend_from_slice(&value);
            head.extend_from_slice(b"\r\n\r\n");
            reply.raw_head = Some(head);
            reply
        })
    });
    let origin = origin.start();
    let urls = (0..count).map(|nth| origin.url(&format!("/{nth}"))).collect();
    (origin, urls)
}

#[test]
fn no_content_disposition_names_a_file_elsewhere() {
    type Way = fn(&[u8]) -> Vec<u8>;
    let ways: [Way; 5] = [
        |name| [b"attachment; filename=\"", name, b"\""].concat(),
        |name| [b"attachment; filename=", name].concat(),
        |name| format!("attachment; filename*=UTF-8''{}", encoded(name)).into_bytes(),
        |name| format!("attachment; filename*=ISO-8859-1''{}", encoded(name)).into_bytes(),
        |name| format!("inline; filename=\"{}\"", encoded(name)).into_bytes(),
    ];
    for way in ways {
        let (_origin, urls) = proposing(NAMES.iter().map(|name| way(name)).collect());
        let outcome = fetch_all(&urls, &["--content-disposition"]);
        let found = files_in(&outcome.path("")).len();
        assert!(found >= 60, "only {found} files came: {}", outcome.stderr);
    }
}

#[test]
fn without_being_asked_no_content_disposition_names_a_file() {
    let values = NAMES.iter().map(|name| format!("attachment; filename*=UTF-8''{}", encoded(name)));
    let (_origin, urls) = proposing(values.map(String::into_bytes).collect());
    let outcome = fetch_all(&urls, &[]);
    outcome.assert_code(0);
    assert_eq!(files_in(&outcome.path("")).len(), NAMES.len());
    assert!((0..NAMES.len()).all(|nth| outcome.path(&nth.to_string()).is_file()));
}

#[test]
fn no_redirect_names_a_file() {
    let mut origin = Origin::new().file("/.bashrc", file()).file("/f.bin", file());
    let mut locations =
        vec!["/.bashrc".to_owned(), "/%2ebashrc".to_owned(), "/x/../.bashrc".into()];
    locations.extend(NAMES.iter().map(|name| format!("/to/{}?x", encoded(name))));
    let proposal = "attachment; filename=\".bashrc\"";
    let paths: BTreeSet<_> = locations
        .iter()
        .map(|location| Url::parse(&format!("http://h{location}")).unwrap())
        .map(|url| url[url::Position::BeforePath..url::Position::AfterQuery].to_owned())
        .collect();
    for path in &paths {
        origin =
            origin.bent(path, file(), move |_, reply| reply.set("Content-Disposition", proposal));
    }
    let count = locations.len();
    for (nth, location) in locations.into_iter().enumerate() {
        origin = origin.at(&format!("/{nth}"), move |_| Reply::redirect("302 Found", &location));
    }
    let origin = origin.start();
    let urls: Vec<_> = (0..count).map(|nth| origin.url(&format!("/{nth}"))).collect();
    let outcome = fetch_all(&urls, &[]);
    outcome.assert_code(0);
    let found = files_in(&outcome.path(""));
    assert_eq!(found.len(), count);
    assert!((0..count).all(|nth| outcome.path(&nth.to_string()).is_file()), "{found:?}");
}
