//! What is wrong with an input: the file, the line, the cause, and what would have been right.

use std::fmt;
use std::path::Path;

use thiserror::Error;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
}

impl Place {
    pub(crate) fn new(file: &str, line: usize) -> Self {
        Self { file: file.to_owned(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why a capture cannot be read. Each message names the file, the line, the cause, and what was expected.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The input ends, or leaves something out, where more must follow.
    #[error("{at}: the input is cut: {cause}; expected {expected}")]
    Cut {
        /// Where it was noticed.
        at: Place,
        /// What is missing.
        cause: String,
        /// What would have been right.
        expected: String,
    },
    /// Lines are not in the order in which they were recorded.
    #[error("{at}: the input is out of order: {cause}; expected {expected}")]
    Reordered {
        /// The line that comes too late.
        at: Place,
        /// What runs backwards.
        cause: String,
        /// What would have been right.
        expected: String,
    },
    /// A line is not of the format that the rest of the input has, or contradicts it.
    #[error("{at}: {cause}; expected {expected}")]
    Format {
        /// The line.
        at: Place,
        /// What is wrong with it.
        cause: String,
        /// What would have been right.
        expected: String,
    },
    /// The input as a whole is something else.
    #[error("{at}: not {what}: {cause}; expected {expected}")]
    NotACapture {
        /// The first line that shows it.
        at: Place,
        /// What it was read as.
        what: &'static str,
        /// What it is instead.
        cause: String,
        /// What would have been right.
        expected: String,
    },
    /// A directory lacks something that its other files need.
    #[error("{path}: {cause}; expected {expected}")]
    Directory {
        /// The directory, or the file that is missing.
        path: String,
        /// What is missing.
        cause: String,
        /// What would have been right.
        expected: String,
    },
    /// The operating system refused.
    #[error("{path}: {}; expected {expected}", refusal(source))]
    Io {
        /// The file.
        path: String,
        /// What it said.
        source: std::io::Error,
        /// What would have been right.
        expected: &'static str,
    },
}

/// What the system says, without the number.
fn refusal(source: &std::io::Error) -> String {
    let said = source.to_string();
    said.split_once(" (os error").map_or(said.as_str(), |(said, _)| said).to_owned()
}

impl CaptureError {
    pub(crate) fn refused(path: &Path, source: std::io::Error, expected: &'static str) -> Self {
        Self::Io { path: path.display().to_string(), source, expected }
    }

    /// The file and line that the message names; none for a directory or a refusal of the system.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Cut { at, .. }
            | Self::Reordered { at, .. }
            | Self::Format { at, .. }
            | Self::NotACapture { at, .. } => Some(at),
            Self::Directory { .. } | Self::Io { .. } => None,
        }
    }
}

/// Makes errors for one file, so that a parser names only the line and the fault.
#[derive(Clone, Copy)]
pub(crate) struct Blame<'a> {
    pub(crate) file: &'a str,
    /// What the file is read as, with its article.
    pub(crate) what: &'static str,
}

impl Blame<'_> {
    pub(crate) fn cut(
        self,
        line: usize,
        cause: impl Into<String>,
        expected: impl Into<String>,
    ) -> CaptureError {
        CaptureError::Cut { at: Place::new(self.file, line), cause: cause.into(), expected: expected.into() }
    }

    pub(crate) fn reordered(
        self,
        line: usize,
        cause: impl Into<String>,
        expected: impl Into<String>,
    ) -> CaptureError {
        CaptureError::Reordered {
            at: Place::new(self.file, line),
            cause: cause.into(),
            expected: expected.into(),
        }
    }

    pub(crate) fn format(
        self,
        line: usize,
        cause: impl Into<String>,
        expected: impl Into<String>,
    ) -> CaptureError {
        CaptureError::Format {
            at: Place::new(self.file, line),
            cause: cause.into(),
            expected: expected.into(),
        }
    }

    pub(crate) fn not_this(
        self,
        line: usize,
        cause: impl Into<String>,
        expected: impl Into<String>,
    ) -> CaptureError {
        CaptureError::NotACapture {
            at: Place::new(self.file, line),
            what: self.what,
            cause: cause.into(),
            expected: expected.into(),
        }
    }
}

/// What stood there, short enough for a message.
pub(crate) fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
