//! What the system says of the running thread and of the machine.

use std::fs;
use std::thread::available_parallelism;

use nix::sys::resource::{UsageWho, getrusage};
use rustix::time::{ClockId, clock_gettime};

pub use crate::hardware::Hardware;
pub(crate) use crate::hardware::HardwareCounters;

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
    /// Page faults that were served without a disk.
    pub minor_faults: u64,
    /// Page faults that waited for one.
    pub major_faults: u64,
    /// What the processor counted; `None` where the machine does not let us ask.
    pub hardware: Option<Hardware>,
}

impl OfThread {
    /// Of the running thread since it began; of `hardware`, since that was made.
    pub(crate) fn now(hardware: &mut HardwareCounters) -> Self {
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("a thread may ask for its own usage");
        Self {
            cpu_ns: cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64,
            voluntary: usage.voluntary_context_switches() as u64,
            involuntary: usage.involuntary_context_switches() as u64,
            minor_faults: usage.minor_page_faults() as u64,
            major_faults: usage.major_page_faults() as u64,
            hardware: hardware.read(),
        }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns - before.cpu_ns,
            voluntary: self.voluntary - before.voluntary,
            involuntary: self.involuntary - before.involuntary,
            minor_faults: self.minor_faults - before.minor_faults,
            major_faults: self.major_faults - before.major_faults,
            hardware: self.hardware.zip(before.hardware).map(|(now, before)| now.since(before)),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns + other.cpu_ns,
            voluntary: self.voluntary + other.voluntary,
            involuntary: self.involuntary + other.involuntary,
            minor_faults: self.minor_faults + other.minor_faults,
            major_faults: self.major_faults + other.major_faults,
            hardware: self.hardware.zip(other.hardware).map(|(one, other)| one.plus(other)),
        }
    }
}

/// Time that a hypervisor has taken from the machine, all processors together; `None` where `/proc/stat` does not say.
pub(crate) fn stolen_ns() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let ticks: u64 = stat.lines().next()?.split_whitespace().nth(8)?.parse().ok()?;
    Some(ticks * 10_000_000) // USER_HZ is 100 on every architecture that Linux has kept
}
