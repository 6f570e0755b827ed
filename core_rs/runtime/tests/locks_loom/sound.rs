//! The locks as they are.
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

/// What they synchronise with: loom's own.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
}

use checks::{
    a_reader_and_a_writer_exclude_each_other, a_try_that_fails_leaves_nothing,
    a_waiting_writer_is_not_overtaken, ranges_exclude_where_they_meet,
    readers_and_writers_all_come_to_an_end, writers_exclude_each_other,
};

#[test]
fn mcs() {
    writers_exclude_each_other(McsLock::new, OWN, 2);
    a_reader_and_a_writer_exclude_each_other(McsLock::new, OWN, 3);
}

#[test]
fn mcs_of_threads_that_share_a_node() {
    writers_exclude_each_other(McsLock::new, 0, 3);
}

#[test]
fn qrwlock() {
    writers_exclude_each_other(QrwLock::new, OWN, 2);
    a_reader_and_a_writer_exclude_each_other(QrwLock::new, OWN, 3);
    readers_and_writers_all_come_to_an_end(QrwLock::new, OWN, 2);
}

#[test]
fn a_writer_that_waits_for_a_qrwlock_is_not_overtaken() {
    a_waiting_writer_is_not_overtaken(QrwLock::new, OWN, 3);
}

#[test]
fn big_reader() {
    writers_exclude_each_other(BigReaderLock::new, OWN, 2);
    a_reader_and_a_writer_exclude_each_other(BigReaderLock::new, OWN, 3);
    readers_and_writers_all_come_to_an_end(BigReaderLock::new, OWN, 2);
}

#[test]
fn big_reader_of_threads_that_share_a_slot() {
    readers_and_writers_all_come_to_an_end(BigReaderLock::new, 0, 2);
}

#[test]
fn a_writer_that_waits_for_a_big_reader_lock_is_not_overtaken() {
    a_waiting_writer_is_not_overtaken(BigReaderLock::new, OWN, 3);
}

#[test]
fn range() {
    ranges_exclude_where_they_meet(RangeLock::new, OWN, 2);
}

#[test]
fn tries() {
    a_try_that_fails_leaves_nothing(McsLock::new, OWN, 2);
    a_try_that_fails_leaves_nothing(QrwLock::new, OWN, 2);
    a_try_that_fails_leaves_nothing(RangeLock::new, OWN, 2);
    a_try_that_fails_leaves_nothing(BigReaderLock::new, OWN, 2);
}

#[test]
fn tries_of_threads_that_share_a_node() {
    a_try_that_fails_leaves_nothing(McsLock::new, 0, 2);
    a_try_that_fails_leaves_nothing(BigReaderLock::new, 0, 2);
}
