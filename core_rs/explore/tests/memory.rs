//! Memory is flat in the number of executions: counted by an allocator of this test's own.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::rc::Rc;
use std::sync::atomic::{AtomicIsize, Ordering};

use common::{Made, all, load, store, thread, verdict};
use explore::How;
use runtime::Word;

struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

#[allow(unsafe_code)]
// SAFETY: both functions are the system allocator's, which keeps the contract; counting does not touch memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed) + layout.size() as isize;
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: `memory` came from `alloc` above, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory in use during so many executions, beyond what was in use before.
fn peak(how: How, executions: u64) -> isize {
    let program = Made("racers", || {
        let words = Rc::new([Word::new(0), Word::new(0)]);
        let racer = |name| {
            let words = Rc::clone(&words);
            thread(name, move || (0..6).for_each(|n| store(&words[n % 2], load(&words[(n + 1) % 2]) + 1)))
        };
        vec![racer("T1"), racer("T2"), racer("T3")]
    });
    let mut settings = all();
    settings.how = how;
    settings.bounds.executions = Some(executions);
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    assert_eq!(verdict(&program, &settings).counts.executions, executions);
    PEAK.load(Ordering::Relaxed) - before
}

#[test]
fn a_hundred_times_as_many_executions_take_no_more_memory() {
    for how in
        [How::Dpor, How::Dfs, How::Random { seed: 1 }, How::Pct { seed: 1, depth: 3 }, How::Surw { seed: 1 }]
    {
        peak(how, 1_000); // what is kept from one run to the next
        let (few, many) = (peak(how, 1_000), peak(how, 100_000));
        assert!(many <= few + few / 8, "{how:?}: {few} bytes, then {many}");
    }
}
