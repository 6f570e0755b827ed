//! A small number for each running thread, for what is sharded by thread.
//!
//! Guarantee: two threads that run at the same time never share an index below [`SHARDS`], and who
//! gets an index sees all that its previous owner wrote. Threads beyond that many, and threads whose
//! local storage is being torn down, share the index [`SHARDS`].

use std::cell::Cell;

use parking_lot::Mutex;

/// Threads with an index of their own: more than a measurement starts.
pub(super) const SHARDS: usize = 160;

/// Whether the owner of `index` may share it with other threads.
#[inline]
pub(super) const fn is_shared(index: usize) -> bool {
    index == SHARDS
}

/// The index of the running thread, at most [`SHARDS`].
#[inline]
pub(super) fn index() -> usize {
    match INDEX.get() {
        UNASSIGNED => assign(),
        index => index,
    }
}

const UNASSIGNED: usize = usize::MAX;

/// Indices that no thread owns.
static FREE: Mutex<Pool> = Mutex::new(Pool { returned: Vec::new(), fresh: 0 });

struct Pool {
    returned: Vec<usize>,
    fresh: usize,
}

thread_local! {
    // Apart from `LEASE`, because a cell without a destructor is read without a check.
    static INDEX: Cell<usize> = const { Cell::new(UNASSIGNED) };
    static LEASE: Lease = const { Lease };
}

/// Gives the thread's index back when the thread ends.
struct Lease;

impl Drop for Lease {
    fn drop(&mut self) {
        let index = INDEX.replace(SHARDS);
        if index < SHARDS {
            FREE.lock().returned.push(index);
        }
    }
}

#[cold]
fn assign() -> usize {
    let index = if LEASE.try_with(|_| ()).is_ok() { take() } else { SHARDS };
    INDEX.set(index);
    index
}

fn take() -> usize {
    let mut pool = FREE.lock();
    if let Some(index) = pool.returned.pop() {
        return index;
    }
    let index = pool.fresh.min(SHARDS);
    pool.fresh = (pool.fresh + 1).min(SHARDS);
    index
}
