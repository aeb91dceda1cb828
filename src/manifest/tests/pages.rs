//! Index pages as the servers write them.

use super::*;

fn names(page: &str) -> Vec<(String, bool)> {
    let listing = links(page.as_bytes(), None, &"http://h/d%20e/".parse().unwrap()).unwrap();
    assert_eq!(listing.bad, Vec::<String>::new());
    listing.links.into_iter().map(|link| (link.name, link.is_dir)).collect()
}

fn pairs(names: &[(&str, bool)]) -> Vec<(String, bool)> {
    names.iter().map(|(name, is_dir)| ((*name).into(), *is_dir)).collect()
}

const NGINX: &str = "<html>\r\n<head><title>Index of /d e/</title></head>\r\n<body>\r\n\
                <h1>Index of /d e/</h1><hr>\
<pre><a href=\"../\">../</a>\r\n\
<a href=\"sub/\">sub/</a>                                23-Nov-2026 01:23                   -\r\n\
<a href=\"c%26d%23e%3Ff%25.txt\">c&amp;d#e?f%.txt</a>    23-Nov-2026 01:23                   7\r\n\
<a href=\"col%3Aon\">col:on</a>                          23-Nov-2026 01:23                   0\r\n\
<a href=\"%C3%A9.txt\">\u{e9}.txt</a>                    23-Nov-2026 01:23                   0\r\n\
</pre><hr></body>\r\n</html>\r\n";

#[test]
fn nginx() {
    let wanted = [("sub", true), ("c&d#e?f%.txt", false), ("col:on", false), ("\u{e9}.txt", false)];
    assert_eq!(names(NGINX), pairs(&wanted));
}

#[test]
fn nginx_in_json_tells_sizes_and_times() {
    let page = "[\n{ \"name\":\"sub\", \"type\":\"directory\", \
                \"mtime\":\"Sun, 06 Nov 1994 08:49:37 GMT\" },\n\
                { \"name\":\"a b?.txt\", \"type\":\"file\", \
                \"mtime\":\"Sun, 06 Nov 1994 08:49:37 GMT\", \"size\":7 },\n\
                { \"name\":\"pipe\", \"type\":\"other\", \"mtime\":\"Sun, 06 Nov 1994 08:49:37 GMT\" },\n\
                { \"name\":\"..\", \"type\":\"file\", \"size\":7 }\n]";
    let url = "http://h/d/".parse().unwrap();
    let listing = links(page.as_bytes(), Some("application/json"), &url).unwrap();
    let modified = Some(UNIX_EPOCH + Duration::from_secs(784_111_777));
    let link = |name: &str, url: &str, is_dir, size| {
        let (name, url) = (name.into(), url.parse().unwrap());
        Link { name, url, is_dir, size, modified }
    };
    assert_eq!(
        listing.links,
        [
            link("sub", "http://h/d/sub/", true, None),
            link("a b?.txt", "http://h/d/a%20b%3F.txt", false, Some(7)),
        ]
    );
    assert_eq!(listing.bad.len(), 2, "{:?}", listing.bad);
}

#[test]
fn caddy_in_json_knows_links_that_lead_elsewhere() {
    let page = "[{\"name\":\"d/\",\"size\":4096,\"url\":\"./d/\",\"mod_time\":\"1994-11-06T08:49:37Z\",\
                \"mode\":2147484141,\"is_dir\":true,\"is_symlink\":false},\
                {\"name\":\"a\",\"size\":5,\"url\":\"./a\",\"mod_time\":\"x\",\
                \"is_dir\":false,\"is_symlink\":true},\
                {\"name\":\"b\",\"size\":5,\"url\":\"./b\",\"is_dir\":false,\"is_symlink\":false}]";
    let listing = links(page.as_bytes(), None, &"http://h/".parse().unwrap()).unwrap();
    let short: Vec<_> =
        listing.links.iter().map(|link| (&*link.name, link.is_dir, link.size)).collect();
    assert_eq!(short, [("d", true, None), ("a", false, None), ("b", false, Some(5))]);
}

#[test]
fn caddy() {
    let page = "<!DOCTYPE html>\n<html>\n<head><title>d e</title></head>\n<body><header><h1>\
                <a href=\"../\">/</a><a href=\"\">d e</a></h1></header><table><tr>\
                <th><a href=\"?sort=name&order=desc\">Name</a></th></tr>\n\
                <tr><td><a href=\"..\"><span>Go up</span></a></td></tr>\n\
                <tr><td><a href=\"./sub/\"><svg><use xlink:href=\"#folder\"></use></svg></a></td></tr>\n\
                <tr><td><a href=\"./c&amp;d%23e%3Ff%25.txt\">c</a></td></tr>\n\
                <tr><td><a href=\"./col:on\">c</a></td></tr></table>\
                <footer>Served with <a rel=\"x\" href=\"https://caddyserver.com\">Caddy</a></footer>\
                </body>\n</html>\n";
    assert_eq!(names(page), pairs(&[("sub", true), ("c&d#e?f%.txt", false), ("col:on", false)]));
}

#[test]
fn apache() {
    let page = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<html>\n <head>\n\
                <title>Index of /d e</title>\n </head>\n <body>\n<h1>Index of /d e</h1>\n<table>\n\
                <tr><th><img src=\"/icons/blank.gif\"></th><th><a href=\"?C=N;O=D\">Name</a></th>\
                <th><a href=\"?C=M;O=A\">Last modified</a></th></tr>\n\
                <tr><td><a href=\"/\">Parent Directory</a></td></tr>\n\
                <tr><td><a href=\"a.deb\"><img src=\"x\"></a></td><td><a href=\"a.deb\">a.deb</a></td>\
                <td align=\"right\">2024-01-01 00:00  </td><td align=\"right\">1.2K</td></tr>\n\
                <tr><td><A HREF='/d%20e/sub/'>sub/</A></td></tr>\n\
                </table>\n<address>Apache/2.4 Server at h Port 80</address>\n</body></html>\n";
    assert_eq!(names(page), pairs(&[("a.deb", false), ("sub", true)]));
}

#[test]
fn lighttpd() {
    let page = "<!DOCTYPE html>\n<html>\n<head>\n<title>Index of /d e/</title>\n</head>\n<body>\n\
                <h2>Index of /d e/</h2>\n<div class=\"list\">\n<table><tbody>\n\
                <tr class=\"d\"><td class=\"n\"><a href=\"../\">..</a>/</td></tr>\n\
                <tr class=\"d\"><td class=\"n\"><a href=\"sub/\">sub</a>/</td></tr>\n\
                <tr><td class=\"n\"><a href=\"a%20b.txt\">a b.txt</a></td><td class=\"m\">2024</td></tr>\n\
                </tbody></table></div>\n<div class=\"foot\">lighttpd/1.4</div>\n</body>\n</html>\n";
    assert_eq!(names(page), pairs(&[("sub", true), ("a b.txt", false)]));
}

#[test]
fn pythons_http_server() {
    let page = "<!DOCTYPE HTML>\n<html lang=\"en\">\n<head>\n<title>Directory listing for /d e/\
    </title>\n</head>\n\
                <body>\n<h1>Directory listing for /d e/</h1>\n<hr>\n<ul>\n<li>\
                <a href=\"a.txt\">a.txt</a></li>\n\
                <li><a href=\"sub/\">sub/</a></li>\n<li><a href=\"q%27uo%22te\">q'uo\"te</a></li>\n\
                </ul>\n<hr>\n\
                </body>\n</html>\n";
    assert_eq!(names(page), pairs(&[("a.txt", false), ("sub", true), ("q'uo\"te", false)]));
}

#[test]
fn ringpull_serve() {
    let page = "<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"><title>/d e/</title></head>\n\
                <body>\n<h1>/d e/</h1>\n<table>\n<tr><td><a href=\"../\">../</a></td></tr>\n\
                <tr><td><a href=\"sub/\">sub/</a></td><td align=\"right\">-</td><td>x</td></tr>\n\
                <tr><td><a href=\"javascript%3A1\">javascript:1</a></td><td>0</td><td>x</td></tr>\n\
                </table>\n</body>\n</html>\n";
    assert_eq!(names(page), pairs(&[("sub", true), ("javascript:1", false)]));
}

#[test]
fn an_empty_directory_is_an_index() {
    let page = "<html><title>Index of /d/</title><a href=\"../\">../</a></html>";
    assert_eq!(names(page), []);
    assert_eq!(names("[ ]"), []);
}

#[test]
fn what_is_no_index_or_was_cut_off_is_an_error() {
    let url = "http://h/d/".parse().unwrap();
    let login = "<html><title>Sign in</title><a href=\"help\">Help</a><a href=\"x/\">x</a></html>";
    for page in ["", "plain", login, "[1]", "[{\"name\":\"a\"}]", "{\"a\":1}", "<html></html>"] {
        let error = links(page.as_bytes(), None, &url).unwrap_err();
        assert_eq!(error.kind(), Kind::Protocol, "{page}");
    }
    let end = NGINX.find("</html>").unwrap();
    for cut in (0..end).filter(|cut| NGINX.is_char_boundary(*cut)) {
        assert!(links(&NGINX.as_bytes()[..cut], None, &url).is_err(), "{cut}");
    }
}

#[test]
fn only_what_is_right_below_on_the_same_host_counts() {
    let page = "<html><title>Index of /d e/</title><a href=\"http://other/d%20e/a\">a</a>\
    <a href=\"a/b\">b</a>\
                <a href=\"#top\">c</a><a href=\"mailto:x@y\">d</a><a href=\"//h:81/d%20e/e\">e</a><a>f</a>\
                <a href=\"../g\">g</a><a href=\"/d%20e\">h</a><a href=\"./?C=N\">i</a>\
                <a href=\"http://h/d e/k\">k</a>\
                <a href=\"k#frag\">k</a></html>";
    assert_eq!(names(page), pairs(&[("k", false)]));
}

#[test]
fn names_that_cannot_be_are_told() {
    let page = "<html><title>Index of /</title><a href=\"a%2Fb\">x</a><a href=\"%FF\">y</a>\
    <a href=\"%0A\">z</a></html>";
    let listing = links(page.as_bytes(), None, &"http://h/".parse().unwrap()).unwrap();
    assert_eq!((listing.links.len(), listing.bad.len()), (0, 3), "{listing:?}");
}

#[test]
fn an_index_can_be_a_list_by_itself() {
    let (found, result) = all(NGINX.replace("d e", "pub"), "index.html", None);
    result.unwrap();
    assert_begins(
        &found.iter().map(one_short).collect::<Vec<_>>(),
        &[
            "1 BAD a directory",
            "2 c&d#e?f%.txt http://h/pub/c%26d%23e%3Ff%25.txt",
            "3 col:on http://h/pub/col%3Aon",
            "4 ",
        ],
    );
}
