//! Operation scripts, in the format of the golden cases.

use pyo3::prelude::*;
use stage2::WalkerKind;

use crate::enter::enter_long;
use crate::errors::Error;

#[pyfunction]
pub(crate) fn run_ops(py: Python<'_>, text: String, walker: &str) -> Result<String, Error> {
    let walker: WalkerKind = walker.parse()?;
    enter_long(py, move |stop| stage2::run_ops_until(&text, walker, stop))
}
