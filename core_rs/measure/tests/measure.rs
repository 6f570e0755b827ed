//! What must hold in every measurement, whatever the machine does meanwhile.

use std::sync::atomic::AtomicBool;

use measure::{MeasureError, Measurement, Pattern, Point, measure};

fn point(threads: u32) -> Point {
    Point {
        threads: Some(threads),
        lock: Some("parking_lot".parse().unwrap()),
        guest_bytes: Some(8 << 20),
        ..Point::default()
    }
}

fn measured(point: &Point) -> Measurement {
    measure(&point.check().unwrap(), 0, &AtomicBool::new(false)).unwrap()
}

#[test]
fn every_fault_is_served_once_and_every_page_freed() {
    for &pattern in Pattern::ALL {
        for threads in [1, 2, 3] {
            let point = Point { pattern: Some(pattern), ..point(threads) };
            let measured = measured(&point);
            let operated = measured.operations.unwrap();
            assert_eq!(operated.faults.maps, 2048, "{point:?}");
            let touched = if pattern == Pattern::Overlapping { u64::from(threads) * 2048 } else { 2048 };
            assert_eq!((operated.ops, operated.faults.accesses()), (touched, touched), "{point:?}");
            assert_eq!(measured.teardown.pages_freed, 2 + 1 + 4, "root, level 2, level 3: {point:?}");
            let lock = &measured.locks[0];
            assert_eq!(lock.read.acquisitions, operated.faults.maps + operated.faults.retries, "{point:?}");
            assert_eq!(lock.read.hold.histogram.len(), lock.read.acquisitions, "{point:?}");
        }
    }
}

#[test]
fn a_cancelled_measurement_says_so() {
    let plan = point(2).check().unwrap();
    assert_eq!(measure(&plan, 0, &AtomicBool::new(true)).unwrap_err(), MeasureError::Cancelled);
}
