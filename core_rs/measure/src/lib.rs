//! Real threads on a real stage-2 table: what its operations and its teardown cost under `mmu_lock`.
//!
//! A [`Point`] is one configuration, given as flat JSON. [`Point::check`] says what is wrong with it or makes a [`Plan`] of it, with
//! the point's canonical form: two points that measure the same have the same one. [`measure()`] runs one
//! measurement of it: the table is brought into a state, threads work on it, each operation under the lock and by the walk that
//! KVM uses for it, and the table is torn down. [`row`] makes an Arrow record batch of the result. The order of points, repeats
//! and warm-up are the caller's.
//!
//! What is guaranteed: every operation is counted once, by class and by what became of it, every table page is freed, once, and
//! the lock's counters are exact; threads that have a core each are pinned to it. What is not guaranteed: that
//! the machine was quiet; a row says how long the threads had a processor, how often one was switched out,
//! how much a hypervisor took, and whether there were more threads than cores.

mod canonical;
mod columns;
mod companion;
mod draw;
mod drive;
mod error;
mod field;
mod hardware;
mod life_cycle;
mod measurement;
mod mix;
mod names;
mod operate;
mod pace;
mod part;
mod plan;
mod point;
mod populate;
mod rows;
mod run;
mod sites;
mod system;
mod teardown;
mod vm;
mod worker;

pub use error::MeasureError;
pub use measurement::{Faults, Measurement, OfClass, Operated, TornDown};
pub use mix::{Class, Mix};
pub use names::{Background, Cache, Counters, During, Ending, Free, Locality, Pattern, Place, Populate};
pub use operate::empty_operations;
pub use plan::{LifeCycleTeardown, Operations, Plan, TableTeardown, Teardown};
pub use point::Point;
pub use rows::{MEASUREMENT, row, schema, to_ipc};
pub use run::measure;
pub use system::{Hardware, OfThread};
