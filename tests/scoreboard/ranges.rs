//! Servers that answer ranges in other ways than asked.

use std::ops::Range;

use crate::origin::{Body, File, Reply, Request};
use crate::scenario::{SIZE, Scenario, Stage, login_answer, validated};

/// What a range that is off is off by, in bytes.
const OFF: u64 = 4096;

pub(crate) fn all() -> Vec<Scenario> {
    let all = Scenario::new;
    vec![
        all("honest", "a good server", || bent_ranges(|_, _, reply| reply)),
        all("range ignored", "every answer is the whole file with 200", || {
            bent_ranges(|file, _, _| validated(&file, Reply::whole(&file)).without("Accept-Ranges"))
        }),
        all(
            "later range ignored",
            "ranges from 0 are honoured, all others get the whole file",
            || bent_later(|file, _, _| validated(&file, Reply::whole(&file))),
        ),
        all("206 without Content-Range", "ranges get 206 that does not say which", || {
            bent_ranges(|_, _, reply| reply.without("Content-Range"))
        }),
        all("206 from an earlier byte", "later ranges get 206 from 4096 bytes before", || {
            bent_later(|file, span, _| {
                validated(&file, Reply::part(&file, span.start.saturating_sub(OFF)..span.end))
            })
        }),
        all("206 from a later byte", "later ranges get 206 from 4096 bytes after", || {
            bent_later(|file, span, _| {
                validated(&file, Reply::part(&file, (span.start + OFF).min(span.end - 1)..span.end))
            })
        }),
        all("206 from byte 0", "later ranges get 206 with the first bytes, and say so", || {
            bent_later(|file, span, _| {
                validated(&file, Reply::part(&file, 0..span.end - span.start))
            })
        }),
        all("206 with another total", "later ranges claim a file 1000 bytes larger", || {
            bent_later(|file, span, reply| {
                let (first, last, total) = (span.start, span.end - 1, file.size + 1000);
                reply.set("Content-Range", &format!("bytes {first}-{last}/{total}"))
            })
        }),
        all("206 with total *", "ranges do not say how large the file is", || {
            bent_ranges(|_, span, reply| {
                reply.set("Content-Range", &format!("bytes {}-{}/*", span.start, span.end - 1))
            })
        }),
        all("multipart for one range", "ranges come as multipart/byteranges", || {
            bent_ranges(|file, span, _| validated(&file, multipart(&file, &span)))
        }),
        all("206 longer than asked", "ranges get 64 KiB more, and say so", || {
            bent_ranges(|file, span, _| {
                validated(
                    &file,
                    Reply::part(&file, span.start..(span.end + (64 << 10)).min(file.size)),
                )
            })
        }),
        all("206 shorter than asked", "ranges get 256 KiB at most, and say so", || {
            bent_ranges(|file, span, _| {
                let end = span.end.min(span.start + (256 << 10));
                validated(&file, Reply::part(&file, span.start..end))
            })
        }),
        all(
            "206 with less body than it says",
            "Content-Length is 1000 less than Content-Range",
            || {
                bent_ranges(|file, span, reply| {
                    let end = span.end.saturating_sub(1000).max(span.start + 1);
                    resized(reply, file, span.start..end)
                })
            },
        ),
        all(
            "206 with more body than it says",
            "1000 bytes more than Content-Range, in front",
            || {
                bent_ranges(|file, span, reply| {
                    resized(reply, file, span.start.saturating_sub(1000)..span.end)
                })
            },
        ),
        all("gzip on a range", "ranges are of the gzip of the file, and say so", gzip_on_a_range),
        all("login page for later ranges", "later ranges get a small HTML page with 200", || {
            bent_later(|_, _, _| login_answer()).or_login_page()
        }),
        all("two connections at most", "403 on the third open connection", || {
            bent(|_, request, reply| match request.open > 2 {
                true => Reply::status("403 Forbidden").closing(),
                false => reply,
            })
        }),
    ]
}

fn bent(script: impl Fn(File, &Request, Reply) -> Reply + Send + Sync + 'static) -> Stage {
    let file = File::new(SIZE);
    Stage::bent(file, &[file], move |request, reply| script(file, request, reply))
}

/// Bends the answers to range requests.
fn bent_ranges(script: impl Fn(File, Range<u64>, Reply) -> Reply + Send + Sync + 'static) -> Stage {
    bent(move |file, request, reply| match asked(&file, request) {
        Some(span) if reply.is_part() => script(file, span, reply),
        _ => reply,
    })
}

/// Bends the answers to range requests that do not begin at 0.
fn bent_later(script: impl Fn(File, Range<u64>, Reply) -> Reply + Send + Sync + 'static) -> Stage {
    bent_ranges(move |file, span, reply| match span.start {
        0 => reply,
        _ => script(file, span, reply),
    })
}

/// The bytes of the file that a request is for.
fn asked(file: &File, request: &Request) -> Option<Range<u64>> {
    let range = request.range.clone()?;
    (range.start < file.size).then(|| range.start..range.end.min(file.size))
}

/// Other bytes under the same Content-Range, and the length that fits them.
fn resized(reply: Reply, file: File, span: Range<u64>) -> Reply {
    let length = span.end - span.start;
    reply.body(Body::File(file, span)).set("Content-Length", &length.to_string())
}

fn multipart(file: &File, span: &Range<u64>) -> Reply {
    let (first, last, total) = (span.start, span.end - 1, file.size);
    let mut body = format!(
        "--edge\r\nContent-Type: application/octet-stream\r\n\
         Content-Range: bytes {first}-{last}/{total}\r\n\r\n"
    )
    .into_bytes();
    body.extend(file.expected(span.clone()));
    body.extend(b"\r\n--edge--\r\n");
    let length = body.len().to_string();
    Reply::status("206 Partial Content")
        .body(Body::Bytes(body))
        .set("Content-Length", &length)
        .set("Content-Type", "multipart/byteranges; boundary=edge")
}

/// The plain file to whom asks for it whole, the gzip of it to whom asks for a range. Both are right.
fn gzip_on_a_range() -> Stage {
    let file = File::new(SIZE);
    let packed = gzip(&file.whole());
    let bytes = packed.clone();
    let mut stage = Stage::bent(file, &[file], move |request, reply| {
        let Some(range) = request.range.clone() else { return reply };
        let total = bytes.len() as u64;
        let span = range.start.min(total - 1)..range.end.min(total);
        let (first, last) = (span.start, span.end - 1);
        let body = bytes[usize::try_from(first).unwrap()..=usize::try_from(last).unwrap()].to_vec();
        Reply::status("206 Partial Content")
            .set("Content-Length", &body.len().to_string())
            .body(Body::Bytes(body))
            .set("Content-Range", &format!("bytes {first}-{last}/{total}"))
            .set("Content-Encoding", "gzip")
            .set("Accept-Ranges", "bytes")
            .set("ETag", &file.version(2).etag())
    });
    stage.versions.push(packed);
    stage
}

/// A gzip stream of stored blocks, RFC 1951 section 3.2.4 and RFC 1952.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap();
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    out.extend(crc32fast::hash(bytes).to_le_bytes());
    out.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    out
}
