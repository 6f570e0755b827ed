//! One configuration of a measurement, and what is wrong with it.

use std::fmt;
use std::str::FromStr;

use stage2::{Config, ConfigError, Granule, Walk};

/// Threads that one measurement may have: each has a shard of its own in the lock's counters.
const MAX_THREADS: usize = 128;

/// Which pages each thread faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Each thread its own slice of the guest.
    Disjoint,
    /// Every thread the whole guest, each beginning elsewhere.
    Overlapping,
}

/// How a fault takes `mmu_lock` and walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultWalk(pub Walk);

/// How far one walk of the teardown goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Steps {
    /// The whole table in one walk.
    Whole,
    /// Range by range, with a reschedule point between.
    Ranges,
}

/// Where the table is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// With `mmu_lock` held for write.
    UnderLock,
    /// Taken out of the VM under the lock, destroyed after the unlock.
    TakenOut,
}

/// An order of teardown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Teardown {
    /// How far one walk goes.
    pub steps: Steps,
    /// Where it happens.
    pub place: Place,
}

/// What the lock records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counters {
    /// Nothing.
    Off,
    /// Acquisitions and contentions.
    Counts,
    /// Wait and hold times too.
    Times,
}

/// Gives an enum its names: how it prints, how it is read, and what a wrong name is told.
macro_rules! names {
    ($type:ty, $what:literal, $($value:expr => $name:literal),+ $(,)?) => {
        impl $type {
            /// Every value.
            pub const ALL: &[Self] = &[$($value),+];
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(if *self == $value { return f.write_str($name); })+
                Ok(())
            }
        }
        impl FromStr for $type {
            type Err = MeasureError;
            fn from_str(text: &str) -> Result<Self, MeasureError> {
                match text {
                    $($name => Ok($value),)+
                    _ => Err(MeasureError::Name { what: $what, value: text.into(), known: &[$($name),+] }),
                }
            }
        }
    };
}

names!(Pattern, "pattern", Self::Disjoint => "disjoint", Self::Overlapping => "overlapping");
names!(
    FaultWalk, "walk",
    Self(Walk::Shared) => "shared",
    Self(Walk::Exclusive) => "exclusive",
);
names!(Counters, "counters", Self::Off => "off", Self::Counts => "counts", Self::Times => "times");
names!(
    Teardown, "teardown",
    Self { steps: Steps::Whole, place: Place::UnderLock } => "whole-under-lock",
    Self { steps: Steps::Whole, place: Place::TakenOut } => "whole-taken-out",
    Self { steps: Steps::Ranges, place: Place::UnderLock } => "ranges-under-lock",
    Self { steps: Steps::Ranges, place: Place::TakenOut } => "ranges-taken-out",
);

/// One configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The table.
    pub config: Config,
    /// Threads that fault.
    pub threads: usize,
    /// Which pages each faults.
    pub pattern: Pattern,
    /// Under `mmu_lock` held for read and shared, or under the lock held for write and alone.
    pub walk: FaultWalk,
    /// How the table is torn down.
    pub teardown: Teardown,
    /// Bytes of IPA space one walk of a teardown in ranges covers; `None` is the kernel's step.
    pub step_bytes: Option<u64>,
    /// Guest memory, from IPA 0 up.
    pub guest_bytes: u64,
    /// What one fault maps: a page or a block.
    pub leaf_bytes: u64,
    /// What the lock records.
    pub counters: Counters,
}

impl Point {
    /// The step of a teardown in ranges; `None` where the table goes in one walk.
    pub fn step(&self) -> Option<u64> {
        let kernel = || self.config.geometry().map_or(u64::MAX, |geometry| geometry.step_bytes());
        (self.teardown.steps == Steps::Ranges).then(|| self.step_bytes.unwrap_or_else(kernel))
    }

    /// Says what is wrong, if anything is.
    pub fn check(&self) -> Result<(), MeasureError> {
        let geometry = self.config.geometry()?;
        let number = |what, value, right: String| MeasureError::Number { what, value, right };
        if self.threads == 0 || self.threads > MAX_THREADS {
            return Err(number("threads", self.threads as u64, format!("1 to {MAX_THREADS}")));
        }
        let leaves: Vec<u64> = (geometry.start_level()..=stage2::LAST_LEVEL)
            .filter(|&level| geometry.leaf_allowed(level))
            .map(|level| geometry.granule_size(level))
            .collect();
        if !leaves.contains(&self.leaf_bytes) {
            return Err(number("leaf_bytes", self.leaf_bytes, format!("one of {leaves:?}")));
        }
        let space = 1_u64 << geometry.ipa_bits();
        if self.guest_bytes == 0
            || self.guest_bytes > space
            || !self.guest_bytes.is_multiple_of(self.leaf_bytes)
        {
            let right = format!("a multiple of leaf_bytes {} up to {space}", self.leaf_bytes);
            return Err(number("guest_bytes", self.guest_bytes, right));
        }
        // A smaller step would meet one block twice, and count it twice.
        let whole = self.step().is_none_or(|step| step >= self.leaf_bytes && step.is_power_of_two());
        if !whole {
            let right = format!("a power of two from leaf_bytes {} up", self.leaf_bytes);
            return Err(number("step_bytes", self.step().unwrap_or(0), right));
        }
        Ok(())
    }
}

impl Default for Point {
    /// 64 MiB of 4K pages, one thread, torn down as 7.3 does it, times recorded.
    fn default() -> Self {
        Self {
            config: Config::new(Granule::K4, 40),
            threads: 1,
            pattern: Pattern::Disjoint,
            walk: FaultWalk(Walk::Shared),
            teardown: Teardown { steps: Steps::Ranges, place: Place::TakenOut },
            step_bytes: None,
            guest_bytes: 64 << 20,
            leaf_bytes: 4096,
            counters: Counters::Times,
        }
    }
}

/// Why nothing was measured, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// A name that is not one of the known ones.
    #[error("{what} {value:?} is not one of {}", known.join(", "))]
    Name {
        /// Which setting.
        what: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        known: &'static [&'static str],
    },
    /// A number outside what is possible.
    #[error("{what} {value} is not {right}")]
    Number {
        /// Which setting.
        what: &'static str,
        /// What was given.
        value: u64,
        /// What would be right.
        right: String,
    },
    /// The table cannot be as asked.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The table ran out of its reserve of pages.
    #[error("guest_bytes {guest_bytes} needs more table pages than one table may have")]
    OutOfPages {
        /// The guest's size.
        guest_bytes: u64,
    },
    /// The caller asked to stop.
    #[error("stopped after {done} of {total} measurements")]
    Cancelled {
        /// Measurements finished.
        done: usize,
        /// Measurements planned.
        total: usize,
    },
}
