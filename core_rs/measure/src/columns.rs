//! Columns of a record batch of one row, and lists in it.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, ListArray, RecordBatch, StringArray, StructArray, UInt64Array};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{Field, FieldRef, Schema};

/// Columns under construction: every one is nullable, as the row of a point that crashed has few.
#[derive(Default)]
pub(crate) struct Columns {
    fields: Vec<FieldRef>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    pub(crate) fn push(&mut self, name: &str, array: ArrayRef) {
        self.fields.push(Arc::new(Field::new(name, array.data_type().clone(), true)));
        self.arrays.push(array);
    }

    pub(crate) fn u64(&mut self, name: &str, values: impl IntoIterator<Item = Option<u64>>) {
        self.push(name, Arc::new(UInt64Array::from_iter(values)));
    }

    pub(crate) fn f64(&mut self, name: &str, values: impl IntoIterator<Item = Option<f64>>) {
        self.push(name, Arc::new(Float64Array::from_iter(values)));
    }

    pub(crate) fn text<'a>(&mut self, name: &str, values: impl IntoIterator<Item = Option<&'a str>>) {
        self.push(name, Arc::new(StringArray::from_iter(values)));
    }

    /// One list, whose elements have these columns as fields.
    pub(crate) fn list(&mut self, name: &str, elements: Self) {
        let length = elements.arrays.first().map_or(0, |array| array.len());
        let elements = StructArray::new(elements.fields.into(), elements.arrays, None);
        let item = Field::new("item", arrow_array::Array::data_type(&elements).clone(), true);
        let offsets = OffsetBuffer::from_lengths([length]);
        self.push(name, Arc::new(ListArray::new(Arc::new(item), offsets, Arc::new(elements), None)));
    }

    /// The batch, with what its schema says besides.
    pub(crate) fn finish(self, metadata: impl IntoIterator<Item = (String, String)>) -> RecordBatch {
        let schema = Schema::new(self.fields).with_metadata(metadata.into_iter().collect());
        RecordBatch::try_new(Arc::new(schema), self.arrays).expect("columns of one length")
    }
}
