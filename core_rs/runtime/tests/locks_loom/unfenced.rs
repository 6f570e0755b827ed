//! The locks without fences: a big reader may miss its writer, and is seen to.
#![allow(dead_code)] // a lock says who took it last, and nobody asks

#[path = "../../src/native/kinds/big_reader.rs"]
mod big_reader;
#[path = "checks.rs"]
mod checks;
#[path = "../../src/native/kinds/mcs.rs"]
mod mcs;
#[path = "../../src/native/kinds/raw.rs"]
mod raw;

use super::{OWN, explore, index, join, spawn, waiting as backoff};
use big_reader::BigReaderLock;

/// Nobody took the lock before, as far as it matters here.
fn maker() -> sync::AtomicU32 {
    sync::AtomicU32::new(0)
}

/// What they synchronise with: loom's own, and fences that are none.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

    pub(super) fn fence(_order: Ordering) {}
}

#[test]
#[should_panic(expected = "Causality violation")]
fn big_reader() {
    checks::a_reader_and_a_writer_exclude_each_other(BigReaderLock::new, OWN, 3);
}
