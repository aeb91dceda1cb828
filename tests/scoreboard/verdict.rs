//! What a trial came to. Every end of a run is exactly one of these.

/// How a run ended, judged by its exit status and the bytes under the target's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exit 0, and the bytes are those of one version of the file.
    Correct,
    /// Another exit, and no wrong bytes under the target's name.
    Error,
    /// Another exit, and an incomplete or wrong file under the target's name.
    ErrorWithPartial,
    /// No end before the deadline.
    Hang,
    /// Exit 0, and other bytes.
    Corrupt,
    /// Exit 0, and no file.
    Nothing,
    /// Exit 0 although the certificate is bad.
    Accepted,
    /// The tool cannot express the scenario.
    NotApplicable,
}

impl Verdict {
    pub(crate) const ALL: [Self; 8] = [
        Self::Correct,
        Self::Error,
        Self::ErrorWithPartial,
        Self::Hang,
        Self::Corrupt,
        Self::Nothing,
        Self::Accepted,
        Self::NotApplicable,
    ];

    /// The word of the tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::Error => "error",
            Self::ErrorWithPartial => "error, partial left",
            Self::Hang => "hang",
            Self::Corrupt => "silent corruption",
            Self::Nothing => "exit 0, no file",
            Self::Accepted => "bad certificate accepted",
            Self::NotApplicable => "n/a",
        }
    }

    /// The word of the tables, loud where it should be.
    pub(crate) fn cell(self) -> String {
        match self {
            Self::Hang | Self::Corrupt | Self::Nothing | Self::Accepted => {
                format!("**{}**", self.word())
            }
            _ => self.word().to_owned(),
        }
    }
}
