//! Every lock, every walk and every way to tear a table down: each frees every page, once.

mod common;

use common::measured;

const LOCKS: [&str; 8] = ["qrwlock", "parking_lot", "std", "ticket", "mcs", "mutex", "range", "big_reader"];
const STEPS: [&str; 3] = ["null", "0", "2097152"];
const PLACES: [&str; 4] = [
    r#""place": "under-lock", "breaks": true"#,
    r#""place": "under-lock", "breaks": false"#,
    r#""place": "taken-out""#,
    r#""defer": true"#,
];

#[test]
fn every_teardown_frees_every_page_under_every_lock() {
    for lock in LOCKS {
        for walk in ["shared", "exclusive"] {
            for place in PLACES {
                for step in STEPS {
                    let fields = format!(
                        r#""threads": 2, "lock": "{lock}", "walk": "{walk}", "step_bytes": {step}, {place}"#
                    );
                    let measured = measured(&fields);
                    assert_eq!(measured.teardown.pages_freed, 7, "{fields}");
                    let operated = measured.operations.unwrap();
                    assert_eq!(operated.faults.maps, 2048, "{fields}");
                    let (torn, lock) = (measured.teardown, &measured.locks[0]);
                    assert!(torn.unresched_ns.unwrap() <= torn.ns, "{fields}");
                    assert!(torn.longest_hold_ns.unwrap() <= torn.ns, "{fields}");
                    let swaps = lock.write.sites.iter().find(|of| of.site.name() == "kvm_free_stage2_pgd");
                    assert_eq!(swaps.unwrap().acquisitions, 1, "{fields}");
                }
            }
        }
    }
}

#[test]
fn entries_or_subtrees_either_walker_leaves_the_same() {
    for walker in ["upstream", "fast"] {
        for free in ["entries", "subtree"] {
            for (leaf, pages) in [(4096, 7), (1 << 21, 3)] {
                for step in ["null", "2097152"] {
                    let fields = format!(
                        r#""walker": "{walker}", "free": "{free}", "leaf_bytes": {leaf}, "step_bytes": {step},
                           "ops_per_thread": 0, "populate": "written""#
                    );
                    let measured = measured(&fields);
                    assert_eq!(measured.teardown.pages_freed, pages, "{fields}");
                    assert!(measured.operations.is_none() && measured.classes.is_empty(), "{fields}");
                }
            }
        }
    }
}

#[test]
fn what_runs_beside_a_teardown_finds_no_table() {
    for place in PLACES {
        for during in ["faults", "age", "dirty-log"] {
            let fields = format!(
                r#""during": "{during}", "step_bytes": 2097152, {place}, "ops_per_thread": 0, "populate": "written""#
            );
            let measured = measured(&fields);
            assert_eq!(measured.teardown.pages_freed, 7, "{fields}");
            let beside = measured.classes.iter().find(|of| of.name == "during").expect("it is counted");
            assert!(beside.count > 0, "it has begun when the teardown does: {fields}");
            let other = measured.locks.get(1).map_or(0, |lock| lock.read.acquisitions);
            assert_eq!(other > 0, during == "faults", "only another VM has a lock of its own: {fields}");
        }
    }
}

#[test]
fn every_background_runs_against_the_faults() {
    for lock in LOCKS {
        for background in ["age", "dirty-log", "memslot", "other-vm"] {
            for leaf in [4096, 1 << 21] {
                let fields = format!(
                    r#""threads": 2, "lock": "{lock}", "background": "{background}", "leaf_bytes": {leaf},
                       "touch_bytes": 4096, "ops_per_thread": 4096, "op_bytes": 65536, "background_pause_ns": 1000"#
                );
                let measured = measured(&fields);
                let operated = measured.operations.as_ref().unwrap();
                assert_eq!((operated.ops, operated.faults.accesses()), (8192, 8192), "{fields}");
                assert!(measured.classes.iter().any(|of| of.name == "background"), "{fields}");
            }
        }
    }
}
