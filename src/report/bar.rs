//! The live bar on a terminal: `file.iso  43% ▕████▏ 880 MiB/2.00 GiB  1.10 GiB/s  ETA 1.04 s  8 conn`.
//!
//! Not here: the words (`words`) and the numbers (`frame`). Invariant: a message is never written into the bar's
//! line.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::frame::Frame;
use super::words;

/// The bar of one download.
pub(super) struct Bar {
    bar: ProgressBar,
    name: String,
    measured: bool,
}

impl Bar {
    /// Begins a bar on standard error; `name` is free of controls.
    pub(super) fn begin(name: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style("{prefix} {spinner} {msg}"));
        Self { bar, name: words::cut(name, NAME_WIDTH), measured: false }
    }

    /// Draws `frame`.
    pub(super) fn draw(&mut self, frame: &Frame) {
        if frame.size.is_some() != self.measured {
            self.measured = frame.size.is_some();
            let template = if self.measured {
                "{prefix} ▕{wide_bar}▏ {msg}"
            } else {
                "{prefix} {spinner} {msg}"
            };
            self.bar.set_style(style(template));
        }
        let percent = frame.percent().map_or_else(String::new, |percent| format!(" {percent:>3}%"));
        self.bar.set_prefix(format!("{}{percent}", self.name));
        self.bar.set_message(words::beside_bar(frame));
        match frame.size {
            Some(size) => self.bar.set_length(size),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(frame.bytes);
        self.bar.tick();
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
