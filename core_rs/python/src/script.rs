//! Operation scripts, in the format of the golden cases.

use pyo3::prelude::*;

use crate::enter::enter_long;
use crate::errors::Error;

#[pyfunction]
pub(crate) fn run_ops(py: Python<'_>, text: String) -> Result<String, Error> {
    enter_long(py, move |stop| stage2::run_ops_until(&text, stop))
}
