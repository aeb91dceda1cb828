//! The two streams that people and programs read, and the only place that writes to them.
//!
//! Invariant: a message is one line, and nothing in it steers the terminal, wherever its text came
//! from. A stream that is closed or full loses messages and nothing else: talk never ends a
//! download.

use std::fmt::Write as _;
use std::io::Write;

use crate::error::Escaped;

/// Where messages and events go.
pub(crate) struct Output {
    messages: Box<dyn Write>,
    events: Box<dyn Write>,
}

impl Output {
    /// Writes messages to standard error and events to standard output.
    pub(crate) fn standard() -> Self {
        Self::new(std::io::stderr(), std::io::stdout())
    }

    /// Writes both to standard error, because the body goes to standard output.
    pub(crate) fn beside_body() -> Self {
        Self::new(std::io::stderr(), std::io::stderr())
    }

    /// Writes to any two streams.
    pub(crate) fn new(messages: impl Write + 'static, events: impl Write + 'static) -> Self {
        Self { messages: Box::new(messages), events: Box::new(events) }
    }

    /// Writes one line for people.
    pub(crate) fn line(&mut self, text: &str) {
        put(&mut self.messages, &tame(text));
    }

    /// Writes one line for programs: the text of one JSON object.
    pub(crate) fn event(&mut self, json: &str) {
        put(&mut self.events, json);
    }

    /// Writes one line for people who asked for exactly this, such as the address of a server.
    pub(crate) fn answer(&mut self, text: &str) {
        put(&mut self.events, &tame(text));
    }
}

/// One write a line, so that the lines of several processes do not mix.
fn put(stream: &mut dyn Write, text: &str) {
    let line = format!("{text}\n");
    let _ = stream.write_all(line.as_bytes()).and_then(|()| stream.flush());
}

/// Escapes what steers a terminal. Text that was escaped before stays as it is.
fn tame(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        if is_tame(char) {
            line.push(char);
        } else {
            line.extend(char.escape_unicode());
        }
    }
    line
}

/// Rewrites what serde_json leaves as it is but a terminal obeys (DEL, C1, bidirectional controls)
/// as `\uXXXX`.
pub(super) fn tame_json(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for char in json.chars() {
        if is_tame(char) {
            line.push(char);
        } else {
            // Such characters stand only inside strings, and all of them fit in four digits.
            let _ = write!(line, "\\u{:04x}", u32::from(char));
        }
    }
    line
}

fn is_tame(char: char) -> bool {
    let harmless_ascii = char == '\\' || char.is_ascii_graphic() || char == ' ';
    harmless_ascii || {
        let mut buffer = [0; 4];
        let text: &str = char.encode_utf8(&mut buffer);
        Escaped(text).to_string() == text
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;
    use std::io;
    use std::rc::Rc;

    use super::*;

    /// A stream that a test can read.
    #[derive(Clone, Default)]
    pub(crate) struct Page(Rc<RefCell<Vec<u8>>>);

    impl Page {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_message_is_one_line_without_controls() {
        let page = Page::default();
        Output::new(page.clone(), Closed).line("a\nb\x1b[31m \u{202e}\u{9b}ü \\u{1b}…▕");
        assert_eq!(page.text(), "a\\u{a}b\\u{1b}[31m \\u{202e}\\u{9b}ü \\u{1b}…▕\n");
    }

    #[test]
    fn a_closed_stream_loses_messages_and_nothing_else() {
        let mut output = Output::new(Closed, Closed);
        output.line("x");
        output.event("{}");
        output.answer("x");
    }

    #[test]
    fn json_keeps_its_meaning_when_tamed() {
        let text = "a\u{7f}\u{9b}\u{202e}\n\\\"ü";
        let json = tame_json(&serde_json::to_string(text).unwrap());
        assert!(!json.chars().any(char::is_control) && !json.contains('\u{202e}'));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
