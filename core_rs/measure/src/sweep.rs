//! Points and repeats in seeded random order, one measurement at a time.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::point::{MeasureError, Point};
use crate::rows::{Rows, RowsBuilder};
use crate::run::measure;

/// How far a sweep is: measurements done, and all of them; warm-up counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Measurements done.
    pub done: usize,
    /// Measurements planned.
    pub total: usize,
}

/// Measures every point `repeats` times, after `warmup` times that are thrown away.
///
/// The order is random and seeded, and repeats of one point are spread among the others, so that a slow
/// minute of the machine does not become a property of a point. All points are checked before the first
/// runs. When `cancel` is set the sweep ends with [`MeasureError::Cancelled`].
///
/// ```
/// use std::sync::atomic::AtomicBool;
/// use measure::{Point, sweep};
///
/// let points = [1, 2].map(|threads| Point { guest_bytes: 1 << 20, threads, ..Point::default() });
/// let rows = sweep(&points, 3, 1, 7, &AtomicBool::new(false), &mut |_| {})?;
/// assert_eq!(rows.points.num_rows(), 6);
/// # Ok::<(), measure::MeasureError>(())
/// ```
pub fn sweep(
    points: &[Point],
    repeats: usize,
    warmup: usize,
    seed: u64,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Rows, MeasureError> {
    points.iter().try_for_each(Point::check)?;
    let total = points.len() * (repeats + warmup);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rows = RowsBuilder::default();
    let mut done = 0;
    for round in 0..warmup + repeats {
        let mut order: Vec<usize> = (0..points.len()).collect();
        random.shuffle(&mut order);
        for index in order {
            let point = &points[index];
            let measurement = measure(point, cancel)?;
            let Some(measurement) = measurement.filter(|_| !cancel.load(Ordering::Relaxed)) else {
                return Err(MeasureError::Cancelled { done, total });
            };
            done += 1;
            if round >= warmup {
                rows.push(point, round - warmup, &measurement);
            }
            progress(Progress { done, total });
        }
    }
    Ok(rows.finish())
}
