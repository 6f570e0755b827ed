//! The locks without any order of memory but that of fences: wrong, and seen to be.
#![allow(dead_code)] // a lock says who took it last, and nobody asks

#[path = "../../src/native/kinds/big_reader.rs"]
mod big_reader;
#[path = "checks.rs"]
mod checks;
#[path = "../../src/native/kinds/mcs.rs"]
mod mcs;
#[path = "../../src/native/kinds/qrw.rs"]
mod qrw;
#[path = "../../src/native/kinds/range.rs"]
mod range;
#[path = "../../src/native/kinds/raw.rs"]
mod raw;

use super::{OWN, explore, index, join, spawn, waiting as backoff};
use big_reader::BigReaderLock;
use mcs::McsLock;
use qrw::QrwLock;
use range::RangeLock;

/// Nobody took the lock before, as far as it matters here.
fn maker() -> sync::AtomicU32 {
    sync::AtomicU32::new(0)
}

/// As small as a lock of ranges gets.
const STRIPE_BITS: u32 = 1;

/// What they synchronise with: loom's own, each access a relaxed one.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, fence};

    /// Stands for the enum; its names are values here.
    #[allow(non_snake_case, non_upper_case_globals)]
    pub(super) mod Ordering {
        use loom::sync::atomic::Ordering;
        pub(in super::super) const Relaxed: Ordering = Ordering::Relaxed;
        pub(in super::super) const Acquire: Ordering = Ordering::Relaxed;
        pub(in super::super) const Release: Ordering = Ordering::Relaxed;
        pub(in super::super) const AcqRel: Ordering = Ordering::Relaxed;
        pub(in super::super) const SeqCst: Ordering = Ordering::SeqCst;
    }
}

use checks::{
    a_reader_and_a_writer_exclude_each_other, a_try_that_fails_leaves_nothing,
    ranges_exclude_where_they_meet, writers_exclude_each_other,
};

#[test]
#[should_panic(expected = "Causality violation")]
fn mcs() {
    writers_exclude_each_other(McsLock::new, OWN, 3);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn qrwlock() {
    a_reader_and_a_writer_exclude_each_other(QrwLock::new, OWN, 3);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn big_reader() {
    a_reader_and_a_writer_exclude_each_other(BigReaderLock::new, OWN, 3);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn range() {
    ranges_exclude_where_they_meet(RangeLock::new, OWN, 2);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn tries_of_mcs() {
    a_try_that_fails_leaves_nothing(McsLock::new, OWN, 2);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn tries_of_qrwlock() {
    a_try_that_fails_leaves_nothing(QrwLock::new, OWN, 2);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn tries_of_big_reader() {
    a_try_that_fails_leaves_nothing(BigReaderLock::new, OWN, 2);
}
