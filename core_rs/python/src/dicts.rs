//! Results as dicts and lists, which the Python package gives names to.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A dict of the named values.
macro_rules! dict {
    ($py:expr, $($name:ident: $value:expr),+ $(,)?) => {{
        let dict = pyo3::types::PyDict::new($py);
        $(dict.set_item(stringify!($name), $value)?;)+
        pyo3::PyResult::Ok(dict)
    }};
}
pub(crate) use dict;

/// A list with a dict for each item.
pub(crate) fn list<'py, T>(
    items: impl IntoIterator<Item = T>,
    describe: impl FnMut(T) -> PyResult<Bound<'py, PyDict>>,
) -> PyResult<Vec<Bound<'py, PyDict>>> {
    items.into_iter().map(describe).collect()
}
