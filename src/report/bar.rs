//! The live bar on a terminal: `file.iso  43% ▕████▏ 880 MiB/2.00 GiB  1.10 GiB/s  ETA 1.04 s  8
//! conn`.
//!
//! Not here: the words (`words`) and the numbers (`frame`). Invariant: a message is never written
//! into the bar's line.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::frame::Frame;
use super::words;

/// The bar of one download.
pub(super) struct Bar {
    bar: ProgressBar,
    name: String,
    size: Option<u64>,
}

impl Bar {
    /// Begins a bar on standard error; `name` is free of controls.
    pub(super) fn begin(name: &str) -> Self {
        let name = words::cut(name, NAME_WIDTH);
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
            .with_style(style(SPINNER))
            .with_prefix(name.clone());
        Self { bar, name, size: None }
    }

    /// Draws `frame`.
    pub(super) fn draw(&mut self, frame: &Frame) {
        if frame.size != self.size {
            self.size = frame.size;
            self.bar.set_style(style(if frame.size.is_some() { BAR } else { SPINNER }));
            match frame.size {
                Some(size) => self.bar.set_length(size),
                None => self.bar.unset_length(),
            }
        }
        let percent = frame.percent().map_or_else(String::new, |percent| format!(" {percent:>3}%"));
        // The setters draw, each of them; the builders do not, and a clone is the same bar.
        let bar = self.bar.clone().with_prefix(self.name.clone() + &percent);
        bar.with_message(words::beside_bar(frame)).with_position(frame.bytes).tick();
    }

    /// Runs `write` while the bar is off the screen.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }
}

impl Drop for Bar {
    /// Takes the bar off the screen.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("proof: the templates are constants, drawn by a test")
        .progress_chars("█▉▊▋▌▍▎▏ ")
}

const BAR: &str = "{prefix} ▕{wide_bar}▏ {msg}";
const SPINNER: &str = "{prefix} {spinner} {msg}";
/// Leaves room for bar and numbers on 80 columns.
const NAME_WIDTH: usize = 20;

#[cfg(test)]
mod tests {
    use super::super::frame::tests::frame;
    use super::*;

    #[test]
    fn the_templates_of_all_states_are_valid() {
        let mut bar = Bar::begin("a name that is much longer than its place.iso");
        bar.bar.set_draw_target(ProgressDrawTarget::hidden());
        bar.draw(&Frame { size: None, ..frame() });
        bar.draw(&frame());
        bar.draw(&Frame { size: Some(0), bytes: 0, ..frame() });
        bar.draw(&Frame { size: None, ..frame() });
        let mut written = false;
        bar.aside(|| written = true);
        assert!(written);
    }
}
