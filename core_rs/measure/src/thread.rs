//! The running thread: where it runs, and what the system says of it.

use std::fs;
use std::thread::available_parallelism;

use rustix::time::{ClockId, clock_gettime};

/// Processors that this process may use.
pub(crate) fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Pins the running thread, number `thread` of `threads`, to a core of its own, if there are as many. Two fresh
/// threads may otherwise share one core for longer than a measurement takes, with the other one idle.
pub(crate) fn pin(thread: usize, threads: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(core) = cores.get(thread).filter(|_| threads <= cores.len()) {
        core_affinity::set_for_current(*core);
    }
}

/// What the system says of a thread, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfThread {
    /// Time on a processor.
    pub cpu_ns: u64,
    /// Times it gave the processor up.
    pub voluntary: u64,
    /// Times the processor was taken from it.
    pub involuntary: u64,
}

impl OfThread {
    /// Of the running thread since it began; `None` where the system does not say (`/proc` is Linux's).
    pub(crate) fn now() -> Option<Self> {
        let status = fs::read_to_string("/proc/thread-self/status").ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        Some(Self {
            cpu_ns: cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64,
            voluntary: field("voluntary_ctxt_switches:")?,
            involuntary: field("nonvoluntary_ctxt_switches:")?,
        })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns - before.cpu_ns,
            voluntary: self.voluntary - before.voluntary,
            involuntary: self.involuntary - before.involuntary,
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns + other.cpu_ns,
            voluntary: self.voluntary + other.voluntary,
            involuntary: self.involuntary + other.involuntary,
        }
    }
}
