//! The types that a point's fields have: how each is read from JSON, written, and put into a column.

use std::fmt::{self, Write};
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, StringArray, UInt32Array, UInt64Array};
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use crate::error::MeasureError;
use crate::mix::Mix;
use crate::names::Named;

/// What a field may hold.
pub(crate) trait FieldType: Sized {
    /// Reads a value that is not null.
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError>;
    /// Adds the value as JSON.
    fn write(&self, text: &mut String);
    /// A column of one row.
    fn column(value: Option<&Self>) -> ArrayRef;
}

/// Hands each field of a JSON object to `take`, without a tree of them all: a plan may have 10^5 points.
pub(crate) fn each_field(
    text: &str,
    mut take: impl FnMut(&str, &Value) -> Result<(), MeasureError>,
) -> Result<(), MeasureError> {
    let mut refused = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_map(Fields(|name: &str, value: &Value| match take(name, value) {
        Ok(()) => true,
        Err(error) => {
            refused = Some(error);
            false
        }
    }));
    let read = read.and_then(|()| json.end());
    if let Some(error) = refused {
        return Err(error);
    }
    read.map_err(|error| MeasureError::Json(error.to_string()))
}

/// Visits the fields until one is refused.
struct Fields<F>(F);

impl<'de, F: FnMut(&str, &Value) -> bool> Visitor<'de> for Fields<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of fields")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        while let Some((name, value)) = object.next_entry::<String, Value>()? {
            if !(self.0)(&name, &value) {
                return Err(A::Error::custom("a field is refused"));
            }
        }
        Ok(())
    }
}

fn wrong(what: &'static str, value: &Value, right: &'static str) -> MeasureError {
    MeasureError::Type { what, value: value.to_string(), right }
}

fn text_column(value: Option<&str>) -> ArrayRef {
    Arc::new(StringArray::from_iter([value]))
}

impl FieldType for u32 {
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError> {
        let number = value.as_u64().and_then(|number| number.try_into().ok());
        number.ok_or_else(|| wrong(what, value, "a whole number from 0 to 4294967295"))
    }
    fn write(&self, text: &mut String) {
        let _ = write!(text, "{self}"); // to memory: it does not fail
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        Arc::new(UInt32Array::from_iter([value.copied()]))
    }
}

impl FieldType for u64 {
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError> {
        value.as_u64().ok_or_else(|| wrong(what, value, "a whole number from 0 up"))
    }
    fn write(&self, text: &mut String) {
        let _ = write!(text, "{self}"); // to memory: it does not fail
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        Arc::new(UInt64Array::from_iter([value.copied()]))
    }
}

impl FieldType for f64 {
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError> {
        value.as_f64().ok_or_else(|| wrong(what, value, "a number"))
    }
    fn write(&self, text: &mut String) {
        let _ = write!(text, "{}", Value::from(*self));
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        Arc::new(Float64Array::from_iter([value.copied()]))
    }
}

impl FieldType for bool {
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError> {
        value.as_bool().ok_or_else(|| wrong(what, value, "true or false"))
    }
    fn write(&self, text: &mut String) {
        let _ = write!(text, "{self}"); // to memory: it does not fail
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        Arc::new(BooleanArray::from_iter([value.copied()]))
    }
}

impl FieldType for String {
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError> {
        value.as_str().map(Into::into).ok_or_else(|| wrong(what, value, "a text"))
    }
    fn write(&self, text: &mut String) {
        text.push_str(&Value::from(self.as_str()).to_string());
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        text_column(value.map(String::as_str))
    }
}

impl FieldType for Mix {
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError> {
        value.as_str().ok_or_else(|| wrong(what, value, "a text such as \"fault=90 age=10\""))?.parse()
    }
    fn write(&self, text: &mut String) {
        let _ = write!(text, "\"{self}\"");
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        text_column(value.map(ToString::to_string).as_deref())
    }
}

impl<T: Named> FieldType for T {
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError> {
        let name = value.as_str().map_or_else(|| value.to_string(), Into::into);
        debug_assert_eq!(what, Self::WHAT, "a field is named as its type");
        Self::named(&name)
    }
    fn write(&self, text: &mut String) {
        text.extend(["\"", self.name(), "\""]);
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        text_column(value.map(|value| value.name()))
    }
}
