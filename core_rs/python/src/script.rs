//! Operation scripts, in the format of the golden cases.

use pyo3::prelude::*;

use crate::enter::enter;
use crate::errors::Error;

#[pyfunction]
pub(crate) fn run_ops(py: Python<'_>, text: &str) -> Result<String, Error> {
    enter(py, || stage2::run_ops(text))
}
