//! Values of the command line, for the fuzz targets.

use http::HeaderName;

use super::secrets::Login;
use super::{addresses, headers, values};
use crate::digest::Checksum;
use crate::fuzzing::{Input, is_harmless};
use crate::limits;
use crate::units::{parse_seconds, parse_size, show_size, show_time};

/// A line that is read as the value of every option, and a second one for the secret part of a field.
pub fn values(bytes: &[u8]) {
    if knows_secret(bytes) {
        return;
    }
    let mut input = Input::new(bytes);
    let (text, rest) = (input.text(), input.text());
    if let Ok(size) = parse_size(&text) {
        assert!(i64::try_from(size).is_ok(), "{text:?} is {size} bytes");
        assert!(show_size(size).len() <= 9, "{}", show_size(size));
    }
    if let Ok(rate) = values::rate(&text) {
        assert!(rate > 0, "{text:?} is no rate at all");
    }
    if let Ok(size) = values::block_size(&text) {
        let bounds = limits::BLOCK_SIZE_MIN..=limits::BLOCK_SIZE_MAX;
        assert!(size.is_power_of_two() && bounds.contains(&size));
    }
    if let Ok(time) = parse_seconds(&text) {
        assert!(!time.is_zero(), "{text:?} is no time at all");
        is_harmless(&show_time(time));
    }
    let checksum: Result<Checksum, _> = values::checksum(&text);
    if let Ok(checksum) = checksum {
        assert_eq!(checksum.bytes().len(), checksum.algo().digest_len());
        assert_eq!(values::checksum(&checksum.to_string()), Ok(checksum));
    }
    let sentences = [
        parse_size(&text).err(),
        parse_seconds(&text).err(),
        values::connections(&text).err(),
        values::threads(&text).err(),
        values::checksum(&text).err(),
    ];
    sentences.iter().flatten().for_each(|sentence| is_harmless(sentence));
    field(&text, &rest);
}

/// Fails if a field passes that is ours to set or ends its line, or if a refusal tells its value.
fn field(text: &str, rest: &str) {
    let parsed = headers::parse(text);
    if let Ok((name, value)) = &parsed {
        assert!(!FRAMING.contains(&name.as_str()), "{name}");
        assert!(HeaderName::from_bytes(name.as_str().as_bytes()).is_ok() && value.is_sensitive());
        assert!(!value.is_empty() && !value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte)));
    }
    let name = text.split(':').next().unwrap_or_default();
    let errors = [parsed.err(), headers::parse(&format!("{name}:{rest}{SECRET}\0")).err()];
    for error in errors.iter().flatten() {
        assert_eq!(error.exit_code(), 2);
        is_harmless(&error.to_string());
        assert!(!error.to_string().contains(SECRET), "{error}");
    }
    assert!(errors[1].is_some(), "a zero passes in a field");
}

/// A line with what stands before the credentials of an address, one for the user, and one for the rest.
pub fn addresses(bytes: &[u8]) {
    if knows_secret(bytes) {
        return;
    }
    let mut input = Input::new(bytes);
    let (scheme, user, rest) = (input.text(), input.text(), input.text());
    address(&scheme);
    address(&format!("{scheme}://{rest}"));
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let user: String = user.chars().filter(|char| !"/\\?#@".contains(*char)).collect();
    address(&format!("{user}:{SECRET}@{rest}"));
    address(&format!("{user}:{SECRET}#1@{rest}"));
    if is_plain(&scheme) {
        address(&format!("{scheme}://{user}:{SECRET}@{rest}"));
    }
}

/// Fails if an address passes that cannot be fetched, or if credentials of it are told.
fn address(text: &str) {
    let split = addresses::parse(text).and_then(addresses::split_login);
    let alternate = addresses::alternates(&[text.to_owned()]);
    match split {
        Ok((url, login)) => {
            assert!(matches!(url.scheme(), "http" | "https") && url.has_host(), "{url}");
            assert!(url.username().is_empty() && url.password().is_none(), "{url}");
            assert_eq!(url.fragment(), None);
            assert!(alternate.is_err() || login.is_none(), "an alternate brings credentials");
            if let Some(Login::Basic { user, .. }) = login {
                assert!(!user.contains(':'), "{user:?}");
            }
        }
        Err(error) => {
            assert_eq!(error.exit_code(), 2);
            is_harmless(&error.to_string());
            assert!(!error.to_string().contains(SECRET), "{error}");
        }
    }
    if let Err(error) = alternate {
        is_harmless(&error.to_string());
        assert!(!error.to_string().contains(&format!("{SECRET}@")), "{error}");
    }
}

/// Whether an input holds the secret by itself: a fuzzer learns what its inputs are compared with.
fn knows_secret(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

/// Fields that change what is asked for, or where a message ends.
const FRAMING: [&str; 6] =
    ["range", "if-range", "content-length", "transfer-encoding", "connection", "accept-encoding"];
/// What must not be told.
const SECRET: &str = "s3cret-s3cret";
