//! One flat JSON object a line, without an allocation: what the packed files consist of.
//!
//! Guarantee: accepts exactly the objects of JSON whose values are strings, numbers, `true`, `false` and
//! `null`; a nested value, a repeated key or anything else is refused with its column.

use crate::fields::{Fields, Value};

/// Reads the object `line` into `fields`. The error says what was wrong, and at which column.
pub(crate) fn read_object<'a>(line: &'a str, fields: &mut Fields<'a>) -> Result<(), String> {
    fields.clear();
    let mut scan = Scan { line, bytes: line.as_bytes(), at: 0 };
    scan.blanks();
    scan.expect(b'{')?;
    scan.blanks();
    if scan.peek() != Some(b'}') {
        loop {
            scan.blanks();
            let key = scan.string()?;
            scan.blanks();
            scan.expect(b':')?;
            scan.blanks();
            let value = scan.value()?;
            if !fields.push(key, value) {
                return Err(format!("column {}: key {key:?} is there twice, or one too many", scan.at + 1));
            }
            scan.blanks();
            if scan.peek() != Some(b',') {
                break;
            }
            scan.at += 1;
        }
    }
    scan.expect(b'}')?;
    scan.blanks();
    if scan.peek().is_some() { Err(scan.fault("the end of the line")) } else { Ok(()) }
}

/// Undoes the escapes of a JSON string that [`read_object`] accepted.
pub(crate) fn unescape(raw: &str) -> Option<Box<str>> {
    if !raw.contains('\\') {
        return Some(raw.into());
    }
    serde_json::from_str::<String>(&format!("\"{raw}\"")).ok().map(String::into_boxed_str)
}

struct Scan<'a> {
    line: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.fault(&format!("`{}`", char::from(byte))))
    }

    #[inline]
    fn string(&mut self) -> Result<&'a str, String> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(byte) if byte >= 0x20 => self.at += 1,
                _ => return Err(self.fault("the end of a string")),
            }
        }
        let text = &self.line[start..self.at];
        self.at += 1;
        Ok(text)
    }

    #[cold]
    fn escape(&mut self) -> Result<(), String> {
        let hex = |bytes: &[u8]| bytes.len() == 4 && bytes.iter().all(u8::is_ascii_hexdigit);
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') if self.bytes.get(self.at + 2..self.at + 6).is_some_and(hex) => self.at += 6,
            _ => return Err(self.fault("an escape of JSON")),
        }
        Ok(())
    }

    #[inline]
    fn value(&mut self) -> Result<Value<'a>, String> {
        match self.peek() {
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    #[inline]
    fn number(&mut self) -> Result<Value<'a>, String> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        let text = &self.line[start..self.at];
        if text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0')) {
            return Ok(Value::Number(text));
        }
        match serde_json::from_str::<f64>(text) {
            Ok(_) => Ok(Value::Number(text)),
            Err(_) => Err(format!("column {}: {text:?} is not a number", start + 1)),
        }
    }

    fn word(&mut self) -> Result<Value<'a>, String> {
        for word in ["true", "false", "null"] {
            if self.line[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(Value::Word(word));
            }
        }
        Err(self.fault("a string, a number, true, false or null"))
    }

    #[cold]
    fn fault(&self, expected: &str) -> String {
        let found = self.line.get(self.at..).and_then(|rest| rest.chars().next());
        let found = found.map_or_else(|| "the end of the line".to_owned(), |found| format!("{found:?}"));
        format!("column {}: {found} instead of {expected}", self.at + 1)
    }
}
