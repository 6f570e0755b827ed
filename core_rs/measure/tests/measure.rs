//! What must hold in every measurement, whatever the machine does meanwhile.

use std::sync::atomic::AtomicBool;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use measure::{Counters, MeasureError, Pattern, Point, Teardown, measure, sweep};
use stage2::{Config, Granule};

fn point(threads: usize) -> Point {
    Point { threads, guest_bytes: 8 << 20, ..Point::default() }
}

#[test]
fn every_fault_is_served_once_and_every_page_freed() {
    for &pattern in Pattern::ALL {
        for &teardown in Teardown::ALL {
            for threads in [1, 2, 3] {
                let point = Point { pattern, teardown, ..point(threads) };
                let measured = measure(&point, &AtomicBool::new(false)).unwrap().unwrap();
                assert_eq!(measured.faults, 2048, "{point:?}");
                let touched = if pattern == Pattern::Overlapping { threads as u64 * 2048 } else { 2048 };
                assert_eq!(measured.faults + measured.already_mapped, touched, "{point:?}");
                assert_eq!(measured.pages_freed, 2 + 1 + 4, "root, level 2, level 3: {point:?}");
                let lock = measured.mmu_lock.unwrap();
                assert_eq!(lock.read.acquisitions, measured.faults + measured.retries, "{point:?}");
                assert_eq!(lock.read.hold.histogram.len(), lock.read.acquisitions, "{point:?}");
            }
        }
    }
}

#[test]
fn exclusive_faults_take_the_lock_for_write_and_lose_no_race() {
    for &pattern in Pattern::ALL {
        let point = Point { pattern, walk: "exclusive".parse().unwrap(), ..point(2) };
        let measured = measure(&point, &AtomicBool::new(false)).unwrap().unwrap();
        let lock = measured.mmu_lock.unwrap();
        assert_eq!((measured.faults, lock.read.acquisitions), (2048, 0), "{point:?}");
        // A fault that another thread serves meanwhile is met under the lock, and answered with -EAGAIN.
        let faults =
            lock.write.sites.iter().find(|site| site.site.name() == "kvm_handle_guest_abort").unwrap();
        assert_eq!(faults.acquisitions, measured.faults + measured.retries, "{point:?}");
        assert!(pattern == Pattern::Overlapping || measured.retries == 0, "{point:?}");
    }
}

#[test]
fn every_granule_and_leaf_size_can_be_measured() {
    for (granule, leaf_bytes) in [
        (Granule::K4, 1 << 12),
        (Granule::K4, 1 << 21),
        (Granule::K4, 1 << 30),
        (Granule::K16, 1 << 14),
        (Granule::K16, 1 << 25),
        (Granule::K64, 1 << 16),
        (Granule::K64, 1 << 29),
    ] {
        let config = Config::new(granule, 40);
        let point = Point { config, leaf_bytes, guest_bytes: 2 * leaf_bytes, threads: 2, ..Point::default() };
        let measured = measure(&point, &AtomicBool::new(false)).unwrap().unwrap();
        assert_eq!(measured.faults, 2, "{point:?}");
    }
}

#[test]
fn a_sweep_measures_each_point_as_often_as_asked_in_seeded_order() {
    let points = [point(1), point(2)];
    let order = |seed| {
        let rows = sweep(&points, 3, 1, seed, &AtomicBool::new(false), &mut |_| {}).unwrap();
        let threads = rows.points.column_by_name("threads").unwrap();
        threads.as_primitive::<arrow_array::types::UInt32Type>().values().to_vec()
    };
    let first = order(7);
    assert_eq!(first.iter().filter(|&&threads| threads == 2).count(), 3);
    assert_eq!(first, order(7), "one seed, one order");
    assert!((8..40).any(|seed| order(seed) != first), "another seed, another order");
}

#[test]
fn rows_have_counts_where_counts_were_asked_and_times_where_times_were() {
    let filled = |counters, column: &str| {
        let points = [Point { counters, ..point(1) }];
        let rows = sweep(&points, 1, 0, 1, &AtomicBool::new(false), &mut |_| {}).unwrap();
        let column = rows.points.column_by_name(column).unwrap().as_primitive::<UInt64Type>().clone();
        column.iter().next().unwrap()
    };
    assert_eq!(filled(Counters::Off, "read_acquisitions"), None);
    assert_eq!(filled(Counters::Counts, "read_acquisitions"), Some(2048));
    assert_eq!(filled(Counters::Counts, "write_hold_ns"), None);
    assert!(filled(Counters::Times, "write_hold_ns") > Some(0));
}

#[test]
fn sites_sum_up_to_the_lock() {
    let rows = sweep(&[point(2)], 1, 0, 1, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let sum = |batch: &arrow_array::RecordBatch, column: &str| {
        let column = batch.column_by_name(column).unwrap().as_primitive::<UInt64Type>().clone();
        column.iter().flatten().sum::<u64>()
    };
    let lock = sum(&rows.points, "read_acquisitions") + sum(&rows.points, "write_acquisitions");
    assert_eq!(sum(&rows.sites, "acquisitions"), lock);
}

#[test]
fn wrong_points_are_refused_with_the_value_and_what_would_be_right() {
    let refused = |point: Point| measure(&point, &AtomicBool::new(false)).unwrap_err().to_string();
    assert_eq!(refused(point(0)), "threads 0 is not 1 to 128");
    let odd = Point { leaf_bytes: 8192, ..point(1) };
    assert_eq!(refused(odd), "leaf_bytes 8192 is not one of [1073741824, 2097152, 4096]");
    let huge = Point { guest_bytes: 1 << 41, ..point(1) };
    assert!(refused(huge).contains("guest_bytes 2199023255552 is not a multiple of leaf_bytes 4096 up to"));
    let fine = Point { step_bytes: Some(2048), ..point(1) };
    assert_eq!(refused(fine), "step_bytes 2048 is not a power of two from leaf_bytes 4096 up");
    let name = "sideways".parse::<Teardown>().unwrap_err();
    assert!(name.to_string().starts_with("teardown \"sideways\" is not one of whole-under-lock, "));
}

#[test]
fn a_cancelled_sweep_says_how_far_it_came() {
    let cancelled = sweep(&[point(1)], 3, 0, 1, &AtomicBool::new(true), &mut |_| {});
    assert_eq!(cancelled.unwrap_err(), MeasureError::Cancelled { done: 0, total: 3 });
}
