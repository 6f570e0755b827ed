//! Measurements: a point goes in as JSON, its row comes out as an Arrow IPC stream.
//!
//! A worker process needs nothing but this module: neither pandas nor pyarrow.

use ::measure::{MeasureError, Plan, Point};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::enter::{enter, enter_long};
use crate::errors::Error;

/// What [`check_points`] answers for one point: its canonical JSON, or why it cannot be measured.
type Checked = (Option<String>, Option<String>);

/// Measures a point once; answers one row.
#[pyfunction]
pub(crate) fn measure<'py>(
    py: Python<'py>,
    point: &str,
    repeat: u32,
    run: u32,
) -> Result<Bound<'py, PyBytes>, Error> {
    let plan = plan(point)?;
    let row = enter_long(py, move |stop| {
        let row = match ::measure::measure(&plan, repeat, stop) {
            Ok(measured) => ::measure::row(&plan, repeat, run, Ok(&measured)),
            Err(error @ MeasureError::OutOfPages { .. }) => {
                ::measure::row(&plan, repeat, run, Err(&error.to_string()))
            }
            Err(error) => return Err(error),
        };
        Ok(::measure::to_ipc(&row))
    })?;
    Ok(PyBytes::new(py, &row))
}

/// The canonical JSON of a point.
#[pyfunction]
pub(crate) fn check_point(py: Python<'_>, point: &str) -> Result<String, Error> {
    enter(py, || plan(point).map(|plan| plan.point.to_json()))
}

/// The canonical JSON of each point, or why it cannot be measured.
#[pyfunction]
pub(crate) fn check_points(py: Python<'_>, points: Vec<String>) -> Result<Vec<Checked>, Error> {
    enter(py, || -> Result<Vec<Checked>, Error> {
        let check = |point: String| match plan(&point) {
            Ok(plan) => (Some(plan.point.to_json()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Ok(points.into_iter().map(check).collect())
    })
}

/// The columns of a row, as an Arrow IPC stream without one.
#[pyfunction]
pub(crate) fn measurement_schema(py: Python<'_>) -> Result<Bound<'_, PyBytes>, Error> {
    let schema = enter(py, || Ok::<_, Error>(::measure::to_ipc(&::measure::schema())))?;
    Ok(PyBytes::new(py, &schema))
}

fn plan(point: &str) -> Result<Plan, MeasureError> {
    Point::from_json(point)?.check()
}

impl From<MeasureError> for Error {
    fn from(error: MeasureError) -> Self {
        Self::input(error)
    }
}
