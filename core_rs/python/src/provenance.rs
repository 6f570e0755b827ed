//! What the extension was built from, and how.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::errors::Error;
use crate::sources;

#[pyfunction]
pub(crate) fn build_id() -> &'static str {
    env!("PYWORKBENCH_BUILD_ID")
}

#[pyfunction]
pub(crate) fn build_profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "PyO3 hands a path over by value")]
pub(crate) fn source_id(core: PathBuf) -> Result<String, Error> {
    sources::identity(&core).map_err(|error| Error::Input(format!("{}: {error}", core.display())))
}
