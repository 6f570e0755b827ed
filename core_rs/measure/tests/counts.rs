//! What must hold in every measurement, whatever the machine does meanwhile: every operation is counted once.

mod common;

use std::sync::atomic::AtomicBool;

use common::{measured, plan};
use measure::{Class, Faults, MeasureError, Measurement, measure};

/// Accesses by what became of each, without the attempts that were made again.
fn served(measured: &Measurement) -> Faults {
    Faults { retries: 0, ..measured.operations.as_ref().expect("a phase of operations").faults }
}

fn count(measured: &Measurement, class: &str) -> u64 {
    measured.classes.iter().find(|of| of.name == class).map_or(0, |of| of.count)
}

#[test]
fn one_pass_maps_every_page_once() {
    for pattern in ["disjoint", "overlapping"] {
        for walk in ["shared", "exclusive"] {
            for threads in [1, 2, 3] {
                let fields = format!(r#""threads": {threads}, "pattern": "{pattern}", "walk": "{walk}""#);
                let measured = measured(&fields);
                let operated = measured.operations.as_ref().unwrap();
                let touched = if pattern == "overlapping" { threads * 2048 } else { 2048 };
                assert_eq!((operated.faults.maps, operated.ops), (2048, touched), "{fields}");
                assert_eq!(operated.faults.accesses(), touched, "{fields}");
                assert_eq!(measured.teardown.pages_freed, 2 + 1 + 4, "root, level 2, level 3: {fields}");
                let lock = &measured.locks[0];
                let side = if walk == "shared" { &lock.read } else { &lock.write };
                let faults = side.sites.iter().find(|site| site.site.name() == "kvm_handle_guest_abort");
                let attempts = operated.faults.maps + operated.faults.retries;
                assert_eq!(faults.unwrap().acquisitions, attempts, "{fields}");
                assert_eq!(side.hold.histogram.len(), side.acquisitions, "{fields}");
            }
        }
    }
}

#[test]
fn a_touch_is_what_the_table_makes_of_it() {
    let of = |fields: &str| served(&measured(fields));
    let all = |maps, relaxes, youngs, hits| Faults { maps, relaxes, youngs, hits, retries: 0 };
    assert_eq!(of(r#""populate": "none""#), all(2048, 0, 0, 0));
    assert_eq!(of(r#""populate": "all""#), all(0, 2048, 0, 0));
    assert_eq!(of(r#""populate": "all", "write_percent": 0"#), all(0, 0, 0, 2048));
    assert_eq!(of(r#""populate": "old""#), all(0, 0, 2048, 0));
    assert_eq!(of(r#""populate": "written""#), all(0, 0, 0, 2048));
    assert_eq!(of(r#""populate": "none", "ops_per_thread": 5000"#), all(2048, 0, 0, 5000 - 2048), "again");
    assert_eq!(of(r#""populate": "none", "sparsity": 16"#), all(128, 0, 0, 0));
    let reads_then_writes = of(r#""write_percent": 50, "logging": true, "ops_per_thread": 20480"#);
    assert_eq!(reads_then_writes.maps, 2048, "a page is mapped once");
    assert!(
        (1..2048).contains(&reads_then_writes.relaxes),
        "those that were read first: {reads_then_writes:?}"
    );
}

#[test]
fn dirty_logging_breaks_blocks_up_page_by_page() {
    let blocks = r#""leaf_bytes": 2097152, "populate": "all", "touch_bytes": 4096"#;
    let logged = served(&measured(&format!("{blocks}, \"logging\": true")));
    assert_eq!((logged.maps, logged.relaxes, logged.hits), (2048, 0, 0), "a page of its own for each write");
    let plain = served(&measured(&format!("{blocks}, \"logging\": false")));
    assert_eq!((plain.maps, plain.relaxes, plain.hits), (0, 4, 2044), "a block at the first write to it");
}

#[test]
fn every_class_of_a_mix_is_counted_and_timed_once() {
    let mix = "fault=4 age=1 wrprotect=1 unmap=1 split=1";
    for (leaf, walker) in [(4096, "upstream"), (1 << 21, "upstream"), (4096, "fast")] {
        let measured = measured(&format!(
            r#""threads": 3, "pattern": "overlapping", "mix": "{mix}", "leaf_bytes": {leaf}, "touch_bytes": 4096,
               "populate": "written", "walker": "{walker}", "ops_per_thread": 3000, "op_bytes": 65536"#
        ));
        let operated = measured.operations.as_ref().unwrap();
        assert_eq!((operated.ops, operated.thread_ops_min, operated.thread_ops_max), (9000, 3000, 3000));
        assert_eq!(Class::ALL.map(|class| count(&measured, class.name())).iter().sum::<u64>(), 9000);
        for of in &measured.classes {
            assert!(of.count > 0, "{} of {mix}", of.name);
            assert_eq!(of.latency.as_ref().unwrap().len(), of.count, "{}", of.name);
        }
        assert_eq!(operated.faults.accesses(), count(&measured, "fault"));
        let lock = &measured.locks[0];
        let taken = |name: &str| {
            lock.write.sites.iter().find(|site| site.site.name() == name).map_or(0, |site| site.acquisitions)
        };
        assert_eq!(taken("kvm_age_gfn"), count(&measured, "age"));
        assert_eq!(taken("kvm_mmu_wp_memory_region"), count(&measured, "wrprotect"));
        assert_eq!(taken("kvm_unmap_gfn_range"), count(&measured, "unmap"));
    }
}

#[test]
fn a_pass_of_ranges_covers_the_guest() {
    let aged = measured(r#""threads": 2, "mix": "age", "populate": "written", "op_bytes": 1048576"#);
    assert_eq!(count(&aged, "age"), 8);
    let odd = measured(r#""mix": "unmap", "populate": "written", "op_bytes": 3145728"#);
    assert_eq!((count(&odd, "unmap"), odd.teardown.pages_freed), (3, 2), "only the root is left");
    let split = measured(
        r#""mix": "split", "populate": "written", "leaf_bytes": 2097152, "op_bytes": 8388608, "counters": "counts""#,
    );
    assert_eq!(split.teardown.pages_freed, 2 + 1 + 4, "four blocks became tables");
    let refills = split.locks[0].write.sites.iter().find(|site| site.site.name().contains("split"));
    assert_eq!(refills.unwrap().acquisitions, 4, "the lock is dropped to fill the cache for each block");
    assert!(split.classes[0].latency.is_none(), "latencies only with times");
}

#[test]
fn a_longer_range_goes_in_the_kernels_steps() {
    let fields = r#""guest_bytes": 4294967296, "leaf_bytes": 2097152, "mix": "wrprotect", "op_bytes": 4294967296,
        "populate": "written", "background": "age", "threads": 1, "ops_per_thread": 20"#;
    let plan = measure::Point::from_json(&format!("{{{fields}}}")).unwrap().check().unwrap();
    let measured = measure(&plan, 0, &AtomicBool::new(false)).unwrap();
    let taken: Vec<_> =
        measured.locks[0].write.sites.iter().map(|site| (site.site.name(), site.acquisitions)).collect();
    let of = |name: &str| taken.iter().find(|site| site.0 == name).map_or(0, |site| site.1);
    assert_eq!(of("kvm_mmu_wp_memory_region"), 20, "{taken:?}");
    assert!(of("stage2_apply_range:break") <= 20 * 3, "between four ranges: {taken:?}");
    assert_eq!(of("kvm_age_gfn"), count(&measured, "background"), "{taken:?}");
}

#[test]
fn every_granule_and_leaf_size_can_be_measured() {
    for (granule, leaf) in [
        ("4K", 1_u64 << 12),
        ("4K", 1 << 21),
        ("4K", 1 << 30),
        ("16K", 1 << 14),
        ("16K", 1 << 25),
        ("64K", 1 << 16),
        ("64K", 1 << 29),
    ] {
        for populate in ["none", "all", "old"] {
            let fields = format!(
                r#""granule": "{granule}", "leaf_bytes": {leaf}, "threads": 2, "populate": "{populate}""#
            );
            let guest = format!("{{\"guest_bytes\": {}, {fields}}}", 2 * leaf);
            let plan = measure::Point::from_json(&guest).unwrap().check().unwrap();
            let measured = measure(&plan, 0, &AtomicBool::new(false)).unwrap();
            let faults = served(&measured);
            assert_eq!((faults.accesses(), faults.hits), (2, 0), "{guest}: {faults:?}");
        }
    }
}

#[test]
fn more_threads_than_places_leave_some_without_work() {
    let measured = measured(r#""threads": 5, "leaf_bytes": 2097152"#);
    let operated = measured.operations.as_ref().unwrap();
    assert_eq!((operated.ops, operated.thread_ops_min, operated.thread_ops_max), (4, 0, 1));
    assert!(operated.fairness <= 0.8 + 1e-9, "{}", operated.fairness);
}

#[test]
fn a_repeat_is_a_seed() {
    let plan = plan(r#""locality": "random", "ops_per_thread": 1000, "counters": "off""#);
    let maps = |repeat| served(&measure(&plan, repeat, &AtomicBool::new(false)).unwrap()).maps;
    assert_eq!(maps(3), maps(3));
    assert!((0..20).any(|repeat| maps(repeat) != maps(3)), "another repeat draws other places");
}

#[test]
fn a_cancelled_measurement_says_so() {
    for fields in ["", r#""rate_per_s": 1.0"#, r#""ops_per_thread": 0, "populate": "written""#] {
        let cancelled = measure(&plan(fields), 0, &AtomicBool::new(true));
        assert_eq!(cancelled.unwrap_err(), MeasureError::Cancelled, "{fields}");
    }
    let (plan, cancel) =
        (plan(r#""rate_per_s": 10.0, "ops_per_thread": 1000000000"#), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let measuring = scope.spawn(|| measure(&plan, 0, &cancel));
        std::thread::sleep(std::time::Duration::from_millis(5));
        cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(measuring.join().unwrap().unwrap_err(), MeasureError::Cancelled, "also while it waits");
    });
}
