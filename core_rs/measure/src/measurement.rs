//! What one measurement gave.

use hdrhistogram::Histogram;
use runtime::native::LockStats;

use crate::system::OfThread;

/// What one measurement gave.
#[derive(Clone, Debug, Default)]
pub struct Measurement {
    /// The phase of operations; `None` where there was none.
    pub operations: Option<Operated>,
    /// The teardown.
    pub teardown: TornDown,
    /// What the locks recorded, `mmu_lock` first; none with counters off.
    pub locks: Vec<LockStats>,
    /// What went wrong with memory, each once, by rule and object.
    pub harm: Vec<String>,
    /// Classes of operations: those of the threads, then `background` and `during`.
    pub classes: Vec<OfClass>,
    /// Time that a hypervisor took from the machine meanwhile; `None` where the system does not say.
    pub steal_ns: Option<u64>,
    /// Bytes of the table pages before the teardown, with what lies beside them.
    pub table_bytes: u64,
}

impl Measurement {
    /// What the system says of all threads that were timed: those that operated and the one that tore down.
    pub fn thread(&self) -> OfThread {
        match &self.operations {
            Some(operated) => operated.thread.plus(self.teardown.thread),
            None => self.teardown.thread,
        }
    }
}

/// What the threads did together in the phase of operations.
#[derive(Clone, Debug, Default)]
pub struct Operated {
    /// Operations, each a thread's.
    pub ops: u64,
    /// Of them, faults by what became of each.
    pub faults: Faults,
    /// From the first thread's start to the last one's end.
    pub wall_ns: u64,
    /// What the system says of the threads together.
    pub thread: OfThread,
    /// The fewest operations of a thread.
    pub thread_ops_min: u64,
    /// The most.
    pub thread_ops_max: u64,
    /// Jain's index over the threads' rates: 1 where all are equal, 1 / threads where one has all.
    pub fairness: f64,
    /// The longest time for which `mmu_lock` was held; `None` unless times were recorded.
    pub longest_hold_ns: Option<u64>,
}

/// Faults by what became of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A leaf was mapped.
    pub maps: u64,
    /// Write permission was added to a leaf.
    pub relaxes: u64,
    /// The access flag of a leaf was set.
    pub youngs: u64,
    /// The table served the access: no fault, or another thread was faster.
    pub hits: u64,
    /// Attempts that ended with -EAGAIN and were made again; not one of the above.
    pub retries: u64,
}

impl Faults {
    /// The accesses: every one became one of four things.
    pub fn accesses(&self) -> u64 {
        self.maps + self.relaxes + self.youngs + self.hits
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.maps += other.maps;
        self.relaxes += other.relaxes;
        self.youngs += other.youngs;
        self.hits += other.hits;
        self.retries += other.retries;
    }
}

/// A teardown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TornDown {
    /// From its first action to the last page freed.
    pub ns: u64,
    /// Table pages freed by it, root pages included.
    pub pages_freed: u64,
    /// The longest time for which it held `mmu_lock`.
    pub longest_hold_ns: Option<u64>,
    /// Its longest stretch without a point at which the scheduler may run; waiting for a spinning lock is part of it.
    pub unresched_ns: Option<u64>,
    /// What the system says of the thread that did it.
    pub thread: OfThread,
}

/// One class of operations.
#[derive(Clone, Debug)]
pub struct OfClass {
    /// Its name.
    pub name: &'static str,
    /// How often it was done.
    pub count: u64,
    /// How long each took, in nanoseconds; `None` where that was not recorded.
    pub latency: Option<Histogram<u64>>,
}
