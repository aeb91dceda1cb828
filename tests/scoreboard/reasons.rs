//! Why a tool is wrong in a scenario and does not say so: found by hand in its bytes and requests, one clause
//! each.

const UNCHECKED: &str = "does not compare Content-Range with the range it asked for";
const UNTIED: &str = "puts ranges together without If-Range, and compares no validator";
const FRAMING: &str = "writes the framing of the chunks into the file";
const CONTINUED: &str =
    "continues without If-Range, so the end of one version follows the start of another";
const SHORT: &str = "exits 0 after saying that it got fewer bytes than announced";
const UNCLOSED: &str = "takes the end of the connection for the end of the body";
const FIRST_LENGTH: &str = "believes the first Content-Length, and never sees the last 1000 bytes";
const RETRIEVED: &str = "takes 416, or a smaller Content-Length, for `already fully retrieved`";
const UNSAVED: &str = "exits 0 on 503, having written nothing";

/// Beginning of the scenario, beginning of the tool, reason; the first that fits counts.
const REASONS: [(&str, &str, &str); 42] = [
    ("later range ignored", "axel", "writes a 200 where the range was to go"),
    ("206 from", "axel", UNCHECKED),
    ("206 from", "wget2", UNCHECKED),
    ("206 from", "rclone", UNCHECKED),
    ("multipart", "axel", "writes the framing of the parts into the file"),
    ("206 with more", "aria2c", "takes the bytes it wants from a body of another length"),
    ("206 with more", "axel", "takes the bytes it wants from a body of another length"),
    ("gzip", "rclone", "cuts the gzip of the file at the size of the plain file"),
    ("change: ", "wget2", UNTIED),
    ("change: ", "aria2c", UNTIED),
    ("change: ", "axel", UNTIED),
    ("change: ", "rclone", UNTIED),
    ("503", "wget2", UNSAVED),
    ("chunked 206", "axel", FRAMING),
    ("chunked, always cut short", "axel", FRAMING),
    ("chunked, always cut short", "wget2", UNCLOSED),
    ("Content-Length and chunked", "axel", FRAMING),
    ("cut short twice", "wget2", SHORT),
    ("reset twice", "wget2", SHORT),
    ("silent twice", "wget2", SHORT),
    ("always", "wget2", SHORT),
    ("206 until close", "wget2", SHORT),
    ("two Content-Lengths", "wget -c", FIRST_LENGTH),
    ("two Content-Lengths", "aria2c", FIRST_LENGTH),
    ("TLS cut", "curl", UNCLOSED),
    ("TLS cut", "wget2", UNCLOSED),
    ("TLS cut", "rclone", UNCLOSED),
    ("disk full", "axel", "exits 0 after `Write error!`"),
    ("killed, 206 from byte 0", "wget2", UNCHECKED),
    ("killed, 206 from byte 0", "axel", UNCHECKED),
    ("killed, 206 from byte 0", "rclone", UNCHECKED),
    ("killed, shrank", "wget -c", RETRIEVED),
    ("killed, login page", "wget -c", RETRIEVED),
    ("killed, 416", "wget -c", RETRIEVED),
    ("killed, login page", "axel", "writes a 200 where the range was to go"),
    ("killed, grew", "wget2", "ends after some of its chunks, though not in every run"),
    ("redirect to another host", "wget2", "ends after some of its chunks, though not in every run"),
    ("killed", "curl", CONTINUED),
    ("killed", "wget -c", CONTINUED),
    ("killed", "aria2c", CONTINUED),
    ("killed", "axel", CONTINUED),
    ("complete, grew", "", "appends the end of the new version to the old one"),
];

/// The reason, if somebody has looked.
pub(crate) fn reason(scenario: &str, tool: &str) -> Option<&'static str> {
    let fits = |(of, by, _): &&(&str, &str, &str)| scenario.starts_with(of) && tool.starts_with(by);
    REASONS.iter().find(fits).map(|(_, _, reason)| *reason)
}
