//! What the processor counts while a thread runs: `perf_event`, where the machine gives it.
//!
//! A guest of a hypervisor that has no PMU, and a kernel with a strict `perf_event_paranoid`, give none: then
//! nothing is asked for again, and nothing is answered. Events in user mode only, as that is where the
//! threads under study run.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use perf_event::events::{Event, Hardware as Count};
use perf_event::{Builder, Counter, Group};

/// Events that a processor counted while it ran a thread in user mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// Cycles.
    pub cycles: u64,
    /// Instructions.
    pub instructions: u64,
    /// References to the last-level cache.
    pub cache_references: u64,
    /// References that missed it.
    pub cache_misses: u64,
}

impl Hardware {
    fn each(self, other: Self, with: fn(u64, u64) -> u64) -> Self {
        Self {
            cycles: with(self.cycles, other.cycles),
            instructions: with(self.instructions, other.instructions),
            cache_references: with(self.cache_references, other.cache_references),
            cache_misses: with(self.cache_misses, other.cache_misses),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        self.each(other, |one, other| one + other)
    }

    pub(crate) fn since(self, before: Self) -> Self {
        self.each(before, |now, before| now - before)
    }
}

/// Whether the machine has refused once.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// The running thread's counters, if it may have them.
pub(crate) struct HardwareCounters(Option<Counters<4>>);

impl HardwareCounters {
    /// Counters of the running thread, from now on.
    pub(crate) fn of_this_thread() -> Self {
        let events = [Count::CPU_CYCLES, Count::INSTRUCTIONS, Count::CACHE_REFERENCES, Count::CACHE_MISSES];
        if REFUSED.load(Ordering::Relaxed) {
            return Self(None);
        }
        let counters = Counters::open(events);
        REFUSED.fetch_or(counters.is_err(), Ordering::Relaxed);
        Self(counters.ok())
    }

    /// What they have counted so far; `None` also where the processor had to share them out.
    pub(crate) fn read(&mut self) -> Option<Hardware> {
        let [cycles, instructions, cache_references, cache_misses] = self.0.as_mut()?.read().ok()??;
        Some(Hardware { cycles, instructions, cache_references, cache_misses })
    }
}

/// Events that are counted together.
struct Counters<const N: usize> {
    group: Group,
    counters: [Counter; N],
}

impl<const N: usize> Counters<N> {
    fn open<E: Event + Clone>(events: [E; N]) -> io::Result<Self> {
        let mut group = Group::new()?;
        let mut counters = Vec::with_capacity(N);
        for event in events {
            counters.push(group.add(&Builder::new(event))?);
        }
        group.enable()?;
        let counters = counters.try_into().map_err(|_| io::Error::other("as many counters as events"))?;
        Ok(Self { group, counters })
    }

    /// The counts; `None` where they did not run all the time, so that they are no counts.
    fn read(&mut self) -> io::Result<Option<[u64; N]>> {
        let counts = self.group.read()?;
        let whole = counts.time_enabled() == counts.time_running();
        Ok(whole.then(|| std::array::from_fn(|number| counts[&self.counters[number]])))
    }
}

#[cfg(test)]
mod tests {
    use perf_event::events::Software;

    use super::*;

    /// Software events are counted on every machine that lets us ask at all: the same way, without a PMU.
    #[test]
    fn what_is_counted_grows_with_what_is_done() {
        let Ok(mut counters) = Counters::open([Software::TASK_CLOCK, Software::PAGE_FAULTS]) else { return };
        let before = counters.read().unwrap().expect("software events are not shared out");
        let touched = std::hint::black_box(vec![1_u8; 4 << 20]);
        let after = counters.read().unwrap().expect("software events are not shared out");
        assert!(after[0] > before[0], "a clock goes on");
        assert!(after[1] > before[1], "{} bytes are new memory", touched.len());
    }
}
