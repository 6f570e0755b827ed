//! The words of a point's fields: what each enum's values are called.

use std::fmt;
use std::str::FromStr;

use runtime::native::LockKind;
use stage2::{Granule, Walk, WalkerKind};

use crate::error::MeasureError;

/// An enum whose values have names, the same in JSON, in columns and in messages.
pub(crate) trait Named: Copy + Sized + 'static {
    /// The field that holds it.
    const WHAT: &'static str;
    /// Its values, in the order in which they are listed.
    const VALUES: &'static [Self];
    /// Their names, in that order.
    const NAMES: &'static [&'static str];

    /// The name of this value.
    fn name(self) -> &'static str;

    /// The value of a name.
    fn named(name: &str) -> Result<Self, MeasureError> {
        let place = Self::NAMES.iter().position(|known| *known == name);
        place.map(|place| Self::VALUES[place]).ok_or_else(|| MeasureError::Name {
            what: Self::WHAT,
            value: name.into(),
            known: Self::NAMES,
        })
    }
}

macro_rules! named {
    ($type:ty, $what:literal, $($value:path => $name:literal),+ $(,)?) => {
        impl Named for $type {
            const WHAT: &'static str = $what;
            const VALUES: &'static [Self] = &[$($value),+];
            const NAMES: &'static [&'static str] = &[$($name),+];
            fn name(self) -> &'static str {
                match self {
                    $($value => $name),+
                }
            }
        }
    };
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $what:literal, { $($(#[$value_doc:meta])* $value:ident => $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$value_doc])* $value),+
        }
        named!($type, $what, $($type::$value => $name),+);
        impl $type {
            /// Every value.
            pub const ALL: &[Self] = <Self as Named>::VALUES;
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
        impl FromStr for $type {
            type Err = MeasureError;
            fn from_str(text: &str) -> Result<Self, MeasureError> {
                Self::named(text)
            }
        }
    };
}

named!(Walk, "walk", Self::Shared => "shared", Self::Exclusive => "exclusive");
named!(WalkerKind, "walker", Self::Upstream => "upstream", Self::Fast => "fast");
named!(Granule, "granule", Self::K4 => "4K", Self::K16 => "16K", Self::K64 => "64K");

named!(
    LockKind, "lock",
    Self::Qrwlock => "qrwlock",
    Self::ParkingLot => "parking_lot",
    Self::Std => "std",
    Self::Ticket => "ticket",
    Self::Mcs => "mcs",
    Self::Mutex => "mutex",
    Self::Range => "range",
    Self::BigReader => "big_reader",
);
words!(
    /// What the lock records.
    Counters, "counters", {
        /// Nothing.
        Off => "off",
        /// Acquisitions and contentions.
        Counts => "counts",
        /// Wait and hold times too, and each operation's latency.
        Times => "times",
    }
);
words!(
    /// Which part of the guest each thread works on.
    Pattern, "pattern", {
        /// Each thread its own slice.
        Disjoint => "disjoint",
        /// Every thread the whole guest, each beginning elsewhere.
        Overlapping => "overlapping",
    }
);
words!(
    /// In which order a thread goes over its part.
    Locality, "locality", {
        /// One address after the other, again from the start when it is through.
        Sequential => "sequential",
        /// Each address drawn from the whole part: some come twice, some never.
        Random => "random",
        /// As random, but nine of ten from the first tenth.
        Hot => "hot",
    }
);
words!(
    /// What the table holds before the clock starts.
    Populate, "populate", {
        /// Nothing.
        None => "none",
        /// All that is touched, accessed and write-protected, as dirty logging leaves it.
        All => "all",
        /// All that is touched, accessed and writable: a touch is a hit.
        Written => "written",
        /// All that is touched, writable and aged: a touch sets the access flag.
        Old => "old",
    }
);
words!(
    /// What one more thread does while the operations run.
    Background, "background", {
        /// There is none.
        None => "none",
        /// Ages the guest, range by range.
        Age => "age",
        /// Write-protects the guest, range by range.
        DirtyLog => "dirty-log",
        /// Deletes a slot that holds nothing, beside the guest's memory.
        Memslot => "memslot",
        /// Faults of another VM, with a table and a lock of its own.
        OtherVm => "other-vm",
    }
);
words!(
    /// How the VM ends.
    Ending, "teardown", {
        /// The table alone is torn down.
        Table => "table",
        /// The slots are deleted, then everything is closed.
        MemslotsFirst => "memslots-first",
        /// The files are closed, then the mm exits.
        CloseFirst => "close-first",
        /// The mm exits, then the files are closed.
        ExitFirst => "exit-first",
        /// The process is killed.
        Kill => "kill",
        /// Another process holds the VM's file.
        FdPassed => "fd-passed",
    }
);
words!(
    /// Where the table is destroyed.
    Place, "place", {
        /// With `mmu_lock` held for write.
        UnderLock => "under-lock",
        /// Taken out of the VM under the lock, destroyed after the unlock.
        TakenOut => "taken-out",
    }
);
words!(
    /// What the destruction looks at.
    Free, "free", {
        /// Every entry, to drop its count, as upstream does.
        Entries => "entries",
        /// No leaf: a table whose whole range goes is freed with all below it.
        Subtree => "subtree",
    }
);
words!(
    /// What one more thread does while the table is torn down.
    During, "during", {
        /// There is none.
        None => "none",
        /// Faults of another VM, with a table and a lock of its own.
        Faults => "faults",
        /// Ageing of the same mm: takes the lock, and finds that there is no table any more.
        Age => "age",
        /// Dirty logging of the same VM, likewise.
        DirtyLog => "dirty-log",
    }
);
words!(
    /// Whether the cache of pages for eager splits has been used.
    Cache, "cache", {
        /// It never was.
        Never => "never",
        /// It is filled.
        Filled => "filled",
    }
);
