//! The driver on every kind of lock, with more threads than cores, for a short time: what `sanitize.sh` runs.

mod common;

use common::measured;

/// Every class of operations, beside dirty logging; the counters of threads that have ended are read at the end.
#[test]
fn every_kind_of_lock_carries_every_class_on_more_threads_than_cores() {
    for lock in ["parking_lot", "qrwlock", "std", "ticket", "mcs", "mutex", "range", "big_reader"] {
        let fields = format!(
            r#""lock": "{lock}", "threads": 6, "pattern": "overlapping", "ops_per_thread": 300, "populate": "written",
               "mix": "fault=12 age=1 wrprotect=1 unmap=1 split=1", "op_bytes": 65536, "background": "dirty-log""#
        );
        let measured = measured(&fields);
        let operated = measured.operations.as_ref().unwrap();
        assert_eq!(
            (operated.ops, operated.thread_ops_min, operated.thread_ops_max),
            (1800, 300, 300),
            "{lock}"
        );
        let of_classes: u64 = measured.classes.iter().map(|class| class.count).sum();
        assert!(of_classes >= 1800, "{lock}: {of_classes} operations of all classes and the background");
        let [read, write] = [&measured.locks[0].read, &measured.locks[0].write];
        for side in [read, write] {
            assert_eq!(side.hold.histogram.len(), side.acquisitions, "{lock}");
            assert_eq!(side.wait.histogram.len(), side.contentions, "{lock}");
        }
        assert!(write.acquisitions > 0 && measured.teardown.pages_freed > 0, "{lock}");
    }
}
