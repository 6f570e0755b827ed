//! The types that a point's fields have: how each is read from JSON, written, and put into a column.

use arrow_array::{ArrayRef, BooleanArray, Float64Array, StringArray, UInt32Array, UInt64Array};
use serde_json::Value;
use std::sync::Arc;

use crate::error::MeasureError;
use crate::mix::Mix;
use crate::names::Named;

/// What a field may hold.
pub(crate) trait FieldType: Sized {
    /// Reads a value that is not null.
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError>;
    /// The value as JSON.
    fn write(&self) -> Value;
    /// A column of one row.
    fn column(value: Option<&Self>) -> ArrayRef;
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
    fn write(&self) -> Value {
        Value::from(*self)
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        Arc::new(UInt32Array::from_iter([value.copied()]))
    }
}

impl FieldType for u64 {
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError> {
        value.as_u64().ok_or_else(|| wrong(what, value, "a whole number from 0 up"))
    }
    fn write(&self) -> Value {
        Value::from(*self)
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        Arc::new(UInt64Array::from_iter([value.copied()]))
    }
}

impl FieldType for f64 {
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError> {
        value.as_f64().ok_or_else(|| wrong(what, value, "a number"))
    }
    fn write(&self) -> Value {
        Value::from(*self)
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        Arc::new(Float64Array::from_iter([value.copied()]))
    }
}

impl FieldType for bool {
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError> {
        value.as_bool().ok_or_else(|| wrong(what, value, "true or false"))
    }
    fn write(&self) -> Value {
        Value::from(*self)
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        Arc::new(BooleanArray::from_iter([value.copied()]))
    }
}

impl FieldType for String {
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError> {
        value.as_str().map(Into::into).ok_or_else(|| wrong(what, value, "a text"))
    }
    fn write(&self) -> Value {
        Value::from(self.as_str())
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        text_column(value.map(String::as_str))
    }
}

impl FieldType for Mix {
    fn read(what: &'static str, value: &Value) -> Result<Self, MeasureError> {
        value.as_str().ok_or_else(|| wrong(what, value, "a text such as \"fault=90 age=10\""))?.parse()
    }
    fn write(&self) -> Value {
        Value::from(self.to_string())
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
    fn write(&self) -> Value {
        Value::from(self.name())
    }
    fn column(value: Option<&Self>) -> ArrayRef {
        text_column(value.map(|value| value.name()))
    }
}
