//! Judges the answers that carry the file, or say that there is nothing of it: 200, 206 and 416.

use std::ops::Range;

use http::header::{
    CONNECTION, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName};

use crate::error::{Escaped, Result};
use crate::gate::range::{self, ContentRange};
use crate::gate::{Answer, Ask, Framing, Head, Verdict, Version, broken};

/// Judges a 200: the whole file, whatever was asked.
pub(crate) fn whole(head: &Head<'_>, ask: &Ask, known: Option<&Version>) -> Result<Verdict> {
    let framing = framing(head)?;
    refuse_coding(head.headers)?;
    let length = match framing {
        Framing::Sized(length) => Some(length),
        Framing::Chunked | Framing::UntilClose => None,
    };
    let disguised = "the server sends a part under the status of the whole file (200)";
    match (claim(head.headers, length), &ask.range) {
        (Claim::All, _) | (Claim::Unclear, None) => {}
        (Claim::Part | Claim::Unclear, Some(_)) => return Ok(Verdict::Unranged(disguised.into())),
        (Claim::Part, None) => return Err(broken(disguised)),
    }
    let version = Version::from_headers(head.headers, length);
    if known.is_some_and(|known| known.gave_way_to_page(&version)) {
        let message = "the server sends a web page instead of the file";
        return Err(broken(message).hint("does it want a login, or another one?"));
    }
    if let Some(why) = known.and_then(|known| known.differs(&version)) {
        return Ok(Verdict::Changed(why));
    }
    if ask.first() > 0 {
        return Ok(Verdict::Unranged(
            "the server sends the whole file when asked for a range".into(),
        ));
    }
    if length == Some(0) {
        return Ok(Verdict::Empty(version));
    }
    Ok(Verdict::Body(Answer {
        offset: 0,
        skip: 0,
        length,
        framing,
        version,
        ranged: false,
        reusable: is_keep_alive(head) && framing != Framing::UntilClose,
        disposition: disposition(head.headers),
    }))
}

/// What a 200 says of itself.
enum Claim {
    /// Nothing, or that it is all of the file.
    All,
    /// Something that nobody can read.
    Unclear,
    /// That there is more of the file.
    Part,
}

/// Reads the Content-Range of a 200 with a body of `length` bytes.
///
/// The field means nothing here (RFC 9110 section 14.4), but a server that knows the field and not its status
/// would have its part taken for a short file.
fn claim(headers: &HeaderMap, length: Option<u64>) -> Claim {
    let Some(ContentRange { first, last, total }) = range::satisfied(headers) else {
        return if headers.contains_key(CONTENT_RANGE) { Claim::Unclear } else { Claim::All };
    };
    let is_all = |size: u64| size == last + 1;
    match first == 0 && total.is_none_or(is_all) && length.is_none_or(is_all) {
        true => Claim::All,
        false => Claim::Part,
    }
}

/// Judges a 206: some bytes of the file.
pub(crate) fn part(head: &Head<'_>, ask: &Ask, known: Option<&Version>) -> Result<Verdict> {
    let framing = framing(head)?;
    refuse_coding(head.headers)?;
    let Some(asked) = &ask.range else {
        return Err(broken(
            "the server answered with a part (206) although the whole file was asked for",
        ));
    };
    if is_multipart(head.headers) {
        return Ok(Verdict::Unranged(
            "the server answers a range with multipart/byteranges".into(),
        ));
    }
    let Some(sent) = range::satisfied(head.headers) else {
        return Ok(Verdict::Unranged(
            "the server answers a range without a valid Content-Range".into(),
        ));
    };
    let known_size = known.and_then(|known| known.size);
    let Some(total) = sent.total.or(known_size) else {
        return Ok(Verdict::Unranged("the server does not say how large the file is".into()));
    };
    if !is_offset(total) {
        return Err(broken(format!("the server claims a file of {total} bytes")));
    }
    let version = Version::from_headers(head.headers, Some(total));
    if let Some(why) = known.and_then(|known| known.differs(&version)) {
        return Ok(Verdict::Changed(why));
    }
    if sent.last >= total {
        return Ok(Verdict::Changed(format!("the file grew beyond its {total} bytes")));
    }
    let wanted = wanted(&sent, asked, framing)?;
    let has_surplus = sent.last >= wanted.end;
    Ok(Verdict::Body(Answer {
        offset: wanted.start,
        skip: wanted.start - sent.first,
        length: Some(wanted.end - wanted.start),
        framing,
        version,
        ranged: true,
        reusable: is_keep_alive(head) && framing != Framing::UntilClose && !has_surplus,
        disposition: disposition(head.headers),
    }))
}

/// Judges a 416: the server says that the range lies beyond the file (RFC 9110 section 15.5.17).
pub(crate) fn unsatisfiable(
    head: &Head<'_>,
    ask: &Ask,
    known: Option<&Version>,
) -> Result<Verdict> {
    if ask.range.is_none() {
        return Err(broken("the server refused a range (416) although none was asked for"));
    }
    let size = range::unsatisfied(head.headers);
    let known_size = known.and_then(|known| known.size);
    Ok(match (size, known_size) {
        (Some(size), Some(known)) if size != known => {
            Verdict::Changed(format!("the size changed from {known} to {size} bytes"))
        }
        (Some(0), _) if ask.first() == 0 => {
            Verdict::Empty(Version::from_headers(head.headers, Some(0)))
        }
        _ => Verdict::Unranged("the server refuses a range that lies within the file (416)".into()),
    })
}

/// Whether the connection stays open after this answer: HTTP/1.1 without `Connection: close` (RFC 9112
/// section 9.3).
pub(crate) fn is_keep_alive(head: &Head<'_>) -> bool {
    let closes = head.headers.get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    });
    head.http == http::Version::HTTP_11 && !closes
}

/// The bytes of an answer that were asked for, as file offsets.
fn wanted(sent: &ContentRange, asked: &Range<u64>, framing: Framing) -> Result<Range<u64>> {
    let ContentRange { first, last, .. } = *sent;
    let length = last - first + 1;
    if let Framing::Sized(body) = framing
        && body != length
    {
        return Err(broken(format!(
            "the server announced {body} body bytes for the {length} bytes {first}-{last}"
        )));
    }
    if first > asked.start || last < asked.start {
        return Err(broken(format!(
            "the server sent bytes {first}-{last} when asked for those from {} on",
            asked.start
        )));
    }
    Ok(asked.start..asked.end.min(last + 1))
}

/// What ends the body. Whatever leaves room for two readings is an error (RFC 9112 section 6.3), for the
/// bytes after a wrong end would be taken for the next answer.
fn framing(head: &Head<'_>) -> Result<Framing> {
    let coding = only(head.headers, &TRANSFER_ENCODING)?;
    let length = announced(head.headers)?;
    match (coding, length) {
        (Some(_), Some(_)) => {
            Err(broken("the server sent both Transfer-Encoding and Content-Length"))
        }
        (Some(coding), None) => {
            if head.http < http::Version::HTTP_11 {
                return Err(broken("the server sent Transfer-Encoding in HTTP/1.0"));
            }
            if !coding.eq_ignore_ascii_case("chunked") {
                return Err(broken(format!(
                    "the server sent Transfer-Encoding {}",
                    Escaped(&coding)
                )));
            }
            Ok(Framing::Chunked)
        }
        (None, Some(length)) => Ok(Framing::Sized(length)),
        (None, None) if head.http > http::Version::HTTP_11 => Ok(Framing::Chunked),
        (None, None) => Ok(Framing::UntilClose),
    }
}

/// The length that Content-Length announces.
///
/// The same number several times, in one field or in several, is that number: RFC 9112 section 6.3 has it
/// processed so, and hyper, which frames such a body, reads it so. Anything else leaves room for two
/// readings.
fn announced(headers: &HeaderMap) -> Result<Option<u64>> {
    let mut announced = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let value = String::from_utf8_lossy(value.as_bytes());
        for digits in value.split(',') {
            let length = range::number(digits.trim_matches([' ', '\t']));
            let Some(length) = length.filter(|length| is_offset(*length)) else {
                return Err(broken(format!("the server sent Content-Length {}", Escaped(&value))));
            };
            if announced.replace(length).is_some_and(|before| before != length) {
                return Err(broken("the server sent two different Content-Lengths"));
            }
        }
    }
    Ok(announced)
}

/// Whether a file can be that long: the kernel's offsets are signed.
fn is_offset(length: u64) -> bool {
    i64::try_from(length).is_ok()
}

/// Offsets count coded bytes, so a body that is coded after all is of no use (RFC 9110 section 14.1.2).
fn refuse_coding(headers: &HeaderMap) -> Result<()> {
    for value in headers.get_all(CONTENT_ENCODING) {
        let coding = String::from_utf8_lossy(value.as_bytes());
        if !coding.trim().eq_ignore_ascii_case("identity") {
            return Err(broken(format!(
                "the server compresses the file ({}) although asked not to",
                Escaped(&coding)
            )));
        }
    }
    Ok(())
}

/// The value of a field that may occur once.
fn only(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match values.next() {
        None => Ok(value),
        Some(_) => Err(broken(format!("the server sent several {name} fields"))),
    }
}

fn is_multipart(headers: &HeaderMap) -> bool {
    const MULTIPART: &[u8] = b"multipart/byteranges";
    headers.get_all(CONTENT_TYPE).iter().any(|value| {
        value
            .as_bytes()
            .get(..MULTIPART.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(MULTIPART))
    })
}

fn disposition(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_DISPOSITION)?.as_bytes();
    // Field values are Latin-1 by history, yet servers that write raw names mostly write UTF-8.
    Some(match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    })
}
