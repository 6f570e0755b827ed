//! From the bytes of a file to its lines: gzip is recognised and undone, everything else must be text.
//!
//! Guarantee: what comes out is valid UTF-8 without NUL bytes, and not empty. A gzip stream that is cut or
//! damaged is an error that names the last line that came out of it.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;
use std::str::{self, Utf8Error};

use flate2::bufread::MultiGzDecoder;
use memchr::{memchr, memchr_iter};

use crate::error::{Blame, CaptureError};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The content of a file as text.
pub(crate) struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    /// Inflates `bytes` if they are gzip, and checks that they are text.
    pub(crate) fn read(bytes: &'a [u8], blame: Blame<'_>) -> Result<Self, CaptureError> {
        let bytes = whole(bytes, blame)?;
        if let Some(at) = memchr(0, &bytes) {
            return Err(blame.not_this(line_of(&bytes, at), "it holds a NUL byte, so it is binary", "text"));
        }
        let not_utf8 = |bytes: &[u8], error: Utf8Error| {
            let at = error.valid_up_to();
            blame.format(line_of(bytes, at), format!("byte 0x{:02x} is not UTF-8", bytes[at]), "text")
        };
        Ok(Self(match bytes {
            Cow::Borrowed(bytes) => {
                Cow::Borrowed(str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error))?)
            }
            Cow::Owned(bytes) => Cow::Owned(
                String::from_utf8(bytes).map_err(|error| not_utf8(error.as_bytes(), error.utf8_error()))?,
            ),
        }))
    }

    /// The same for what a serial line may have brought: some bytes that are no text are replaced. Many are an error.
    pub(crate) fn read_noisy(bytes: &'a [u8], blame: Blame<'_>) -> Result<Self, CaptureError> {
        /// The share of bytes that are no text from which on it is not a text with noise.
        const TOO_MANY: usize = 10;
        let bytes = whole(bytes, blame)?;
        let is_text = |byte: &u8| !byte.is_ascii_control() || b"\t\n\r\x1b\x08\x07".contains(byte);
        let chunks = bytes.utf8_chunks();
        let odd: usize = chunks.map(|chunk| chunk.invalid().len()).sum::<usize>()
            + bytes.iter().filter(|byte| !is_text(byte)).count();
        if odd * TOO_MANY > bytes.len() {
            return Err(blame.not_this(
                1,
                format!("{odd} of its bytes are no text, so it is binary"),
                "text",
            ));
        }
        let text = String::from_utf8_lossy(&bytes);
        let quiet = |letter: char| letter != '\0';
        let text = if text.contains('\0') {
            text.chars().filter(|one| quiet(*one)).collect()
        } else {
            text.into_owned()
        };
        Ok(Self(Cow::Owned(text)))
    }

    /// All of it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Its lines, numbered from 1.
    pub(crate) fn lines(&self) -> Lines<'_> {
        Lines { rest: &self.0, number: 0 }
    }
}

/// The bytes, inflated if they are gzip; not empty.
fn whole<'a>(bytes: &'a [u8], blame: Blame<'_>) -> Result<Cow<'a, [u8]>, CaptureError> {
    let bytes = if bytes.starts_with(&GZIP_MAGIC) {
        Cow::Owned(inflate(bytes, blame)?)
    } else if Path::new(blame.file).extension().is_some_and(|suffix| suffix == "gz") && !bytes.is_empty() {
        let cause = format!("it begins with {:02x?}, not with gzip's magic", &bytes[..bytes.len().min(2)]);
        return Err(blame.not_this(1, cause, "a gzip file, whose first bytes are 1f 8b"));
    } else {
        Cow::Borrowed(bytes)
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(blame.not_this(1, "it is empty", blame.what));
    }
    Ok(bytes)
}

/// A line of a [`Text`].
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) number: usize,
    pub(crate) text: &'a str,
    /// Whether a newline ends it: a last line without one may be cut.
    pub(crate) ended: bool,
}

/// The lines of a [`Text`].
pub(crate) struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let end = memchr(b'\n', self.rest.as_bytes());
        let text = &self.rest[..end.unwrap_or(self.rest.len())];
        self.rest = end.map_or("", |end| &self.rest[end + 1..]);
        Some(Line {
            number: self.number,
            text: text.strip_suffix('\r').unwrap_or(text),
            ended: end.is_some(),
        })
    }
}

/// Whether the first character of a text, gzip or plain, is the one that begins a JSON object.
pub(crate) fn begins_with_brace(bytes: &[u8]) -> bool {
    let mut start = [0; 64];
    let mut text = bytes;
    if bytes.starts_with(&GZIP_MAGIC) {
        let mut filled = 0;
        let mut decoder = MultiGzDecoder::new(bytes);
        while let Some(room) = start.get_mut(filled..).filter(|room| !room.is_empty()) {
            match decoder.read(room) {
                Ok(count) if count > 0 => filled += count,
                _ => break, // what is wrong with it, reading it as a whole will say
            }
        }
        text = &start[..filled];
    }
    text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

fn inflate(bytes: &[u8], blame: Blame<'_>) -> Result<Vec<u8>, CaptureError> {
    /// Text of this kind shrinks to about a sixteenth.
    const USUAL_RATIO: usize = 16;
    let mut text = Vec::with_capacity(bytes.len() * USUAL_RATIO);
    match MultiGzDecoder::new(bytes).read_to_end(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let line = line_of(&text, text.len());
            let cause = format!("the gzip stream breaks off or is damaged in this line ({error})");
            Err(blame.cut(line, cause, "a whole gzip file (`gzip -t` tells)"))
        }
    }
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    memchr_iter(b'\n', &bytes[..at]).count() + 1
}
