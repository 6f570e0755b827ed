//! The fields of one record as text, whether they came from JSON or from `key=value` pairs, and what each
//! must look like.

use std::fmt;

use bitflags::bitflags;

/// A value as it stands in the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// Text; in JSON a string, whose escapes are still in it.
    Text(&'a str),
    /// A JSON number.
    Number(&'a str),
    /// `true`, `false` or `null`.
    Word(&'a str),
}

impl<'a> Value<'a> {
    fn as_text(self) -> &'a str {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Word(text) => text,
        }
    }
}

/// More fields than any record has.
const MAX_FIELDS: usize = 24;

/// The fields of one record, in their order. No allocation.
pub(crate) struct Fields<'a> {
    pairs: [(&'a str, Value<'a>); MAX_FIELDS],
    len: usize,
    /// Where the next look-up starts: records are written in the order in which they are read.
    next: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new() -> Self {
        Self { pairs: [("", Value::Text("")); MAX_FIELDS], len: 0, next: 0 }
    }

    pub(crate) fn clear(&mut self) {
        (self.len, self.next) = (0, 0);
    }

    /// Adds a field; `false` when there is one of that name, or no room.
    #[inline]
    pub(crate) fn push(&mut self, key: &'a str, value: Value<'a>) -> bool {
        if self.len == MAX_FIELDS || self.pairs[..self.len].iter().any(|(known, _)| *known == key) {
            return false;
        }
        self.pairs[self.len] = (key, value);
        self.len += 1;
        true
    }

    #[inline]
    pub(crate) fn find(&mut self, key: &str) -> Option<Value<'a>> {
        let place = (self.next..self.len).chain(0..self.next).find(|&i| self.pairs[i].0 == key)?;
        self.next = place + 1;
        Some(self.pairs[place].1)
    }

    #[inline]
    pub(crate) fn get(&mut self, key: &'static str) -> Result<Value<'a>, FieldError> {
        self.find(key).ok_or(FieldError { key, problem: Problem::Missing })
    }

    /// A field that is text.
    #[inline]
    pub(crate) fn text(&mut self, key: &'static str) -> Result<&'a str, FieldError> {
        match self.get(key)? {
            Value::Text(text) => Ok(text),
            other => Err(FieldError::of(key, other.as_text(), "a string")),
        }
    }

    /// A field that is text, read by `parse`.
    #[inline]
    pub(crate) fn parse<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, FieldError> {
        let text = self.text(key)?;
        parse(text).ok_or_else(|| FieldError::of(key, text, expected))
    }

    /// A field that is a JSON number: an integer that is not negative.
    #[inline]
    pub(crate) fn number(&mut self, key: &'static str) -> Result<u64, FieldError> {
        const EXPECTED: &str = "an integer that is not negative";
        match self.get(key)? {
            Value::Number(digits) => decimal(digits).ok_or_else(|| FieldError::of(key, digits, EXPECTED)),
            Value::Text(text) => Err(FieldError::of(key, text, EXPECTED)),
            Value::Word(word) => Err(FieldError::of(key, word, EXPECTED)),
        }
    }
}

/// What is wrong with a field.
#[derive(Debug)]
pub(crate) struct FieldError {
    pub(crate) key: &'static str,
    pub(crate) problem: Problem,
}

#[derive(Debug)]
pub(crate) enum Problem {
    Missing,
    Value { found: String, expected: &'static str },
}

impl FieldError {
    #[cold]
    pub(crate) fn of(key: &'static str, found: &str, expected: &'static str) -> Self {
        Self { key, problem: Problem::Value { found: crate::error::quote(found), expected } }
    }

    /// What would have been right.
    pub(crate) fn expected(&self) -> String {
        match &self.problem {
            Problem::Missing => format!("the field `{}`", self.key),
            Problem::Value { expected, .. } => format!("{expected} in `{}`", self.key),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Missing => write!(f, "there is no field `{}`", self.key),
            Problem::Value { found, .. } => write!(f, "field `{}` is {found}", self.key),
        }
    }
}

/// A type that a field of an event may have.
pub(crate) trait Field: Sized {
    /// What it looks like.
    const EXPECTED: &'static str;

    fn parse(text: &str) -> Option<Self>;

    #[inline]
    fn take(fields: &mut Fields<'_>, key: &'static str) -> Result<Self, FieldError> {
        fields.parse(key, Self::EXPECTED, Self::parse)
    }
}

/// A number that the kernel prints in hexadecimal: addresses, sizes, flags.
pub(crate) type Hex = u64;

impl Field for Hex {
    const EXPECTED: &'static str = "a hexadecimal number such as 0x40000000";

    #[inline]
    fn parse(text: &str) -> Option<Self> {
        hex(text)
    }
}

/// A number that the kernel prints in decimal: return codes, counts.
pub(crate) type Int = i32;

impl Field for Int {
    const EXPECTED: &'static str = "a decimal number of 32 bits such as -11";

    #[inline]
    fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let value = i64::try_from(decimal(digits)?).ok()?;
        i32::try_from(if negative { -value } else { value }).ok()
    }
}

/// A boolean that the kernel prints as a hexadecimal byte.
pub(crate) type Flag = bool;

impl Field for Flag {
    const EXPECTED: &'static str = "0x0 or 0x1";

    #[inline]
    fn parse(text: &str) -> Option<Self> {
        match hex(text)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// A level of the table, or none: `TLBI_TTL_UNKNOWN` is `INT_MAX`.
pub(crate) type Level = Option<i8>;

impl Field for Level {
    const EXPECTED: &'static str = "a level from -1 to 3, or 2147483647 for unknown";

    #[inline]
    fn parse(text: &str) -> Option<Self> {
        match Int::parse(text)? {
            i32::MAX => Some(None),
            level @ -1..=3 => Some(Some(level as i8)),
            _ => None,
        }
    }
}

/// Free text. In JSON its escapes are undone by the reader, who knows that it is JSON.
pub(crate) type Text = Box<str>;

impl Field for Text {
    const EXPECTED: &'static str = "text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }
}

bitflags! {
    /// What `contention_begin` says about a lock (`lock:contention_begin`, LCB_F_*).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct LockFlags: u8 {
        /// It spins: `rwlock_t`, `spinlock_t`, or the spinning phase of a mutex. Others sleep.
        const SPIN = 1;
        /// Taken for read.
        const READ = 1 << 1;
        /// Taken for write.
        const WRITE = 1 << 2;
        /// An RT mutex.
        const RT = 1 << 3;
        /// A per-CPU rwsem.
        const PERCPU = 1 << 4;
        /// A mutex.
        const MUTEX = 1 << 5;
    }
}

impl Field for LockFlags {
    const EXPECTED: &'static str = "lock flags such as SPIN|WRITE";

    fn parse(text: &str) -> Option<Self> {
        if text == "0x0" {
            return Some(Self::empty());
        }
        text.split('|').map(Self::from_name).collect()
    }
}

/// `0x` and up to 16 digits. The kernel's `%#lx` prints zero without the prefix.
#[inline]
pub(crate) fn hex(text: &str) -> Option<u64> {
    let Some(digits) = text.strip_prefix("0x") else {
        return (!text.is_empty() && text.bytes().all(|byte| byte == b'0')).then_some(0);
    };
    bare_hex(digits)
}

/// Up to 16 hexadecimal digits.
#[inline]
pub(crate) fn bare_hex(digits: &str) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.bytes().try_fold(0, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// Decimal digits only.
#[inline]
pub(crate) fn decimal(digits: &str) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits
        .bytes()
        .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0')))
}

/// Seconds with six decimals, as the kernel prints them; in microseconds.
#[inline]
pub(crate) fn seconds_us(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    if fraction.len() != 6 {
        return None;
    }
    decimal(seconds)?.checked_mul(1_000_000)?.checked_add(decimal(fraction)?)
}
