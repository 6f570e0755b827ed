//! `/proc/lock_stat`, as dicts and lists that `pyworkbench/lockstat.py` makes frames of.

use capture::{ContentionPoint, LockStatRow, PointKind, Side, parse_lock_stat};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::dicts::{dict, list};
use crate::enter::enter_long;
use crate::errors::Error;

/// Reads the contents of a `/proc/lock_stat`, gzip or plain; `name` stands in the messages.
#[pyfunction]
pub(crate) fn read_lock_stat<'py>(
    py: Python<'py>,
    contents: &[u8],
    name: String,
) -> Result<Bound<'py, PyDict>, Error> {
    let contents = contents.to_vec();
    let stat = enter_long(py, move |_| parse_lock_stat(&contents, &name))?;
    Ok(dict!(py,
        version: stat.version,
        warnings: stat.warnings,
        rows: list(stat.rows, |row| describe_row(py, row))?,
        points: list(stat.points, |point| describe_point(py, point))?,
    )?)
}

fn describe_row(py: Python<'_>, row: LockStatRow) -> PyResult<Bound<'_, PyDict>> {
    dict!(py,
        lock_class: row.class,
        side: row.side.map(|side| match side {
            Side::Read => "read",
            Side::Write => "write",
        }),
        con_bounces: row.con_bounces,
        contentions: row.contentions,
        waittime_min_us: row.waittime_min_us,
        waittime_max_us: row.waittime_max_us,
        waittime_total_us: row.waittime_total_us,
        waittime_avg_us: row.waittime_avg_us,
        acq_bounces: row.acq_bounces,
        acquisitions: row.acquisitions,
        holdtime_min_us: row.holdtime_min_us,
        holdtime_max_us: row.holdtime_max_us,
        holdtime_total_us: row.holdtime_total_us,
        holdtime_avg_us: row.holdtime_avg_us,
    )
}

fn describe_point(py: Python<'_>, point: ContentionPoint) -> PyResult<Bound<'_, PyDict>> {
    dict!(py,
        lock_class: point.class,
        kind: match point.kind {
            PointKind::Contended => "contended",
            PointKind::Contending => "contending",
        },
        count: point.count,
        address: point.address,
        symbol: point.symbol,
    )
}
