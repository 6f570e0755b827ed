//! Real threads on a real stage-2 table: what faults and teardown cost under `mmu_lock`.
//!
//! A [`Point`] is one configuration. Its threads fault a guest's memory in, each fault a shared walk under the
//! lock held for read, or an exclusive one under the lock held for write; then the table is torn down in one of
//! four orders. [`sweep`] runs points and repeats
//! in seeded random order, one after another, and answers two Arrow tables: a row a measurement, and a row
//! for each lock site of each measurement.
//!
//! What is guaranteed: every fault is served exactly once or found served, every table page is freed, and
//! the lock's counters are exact; threads that have a core each are pinned to it. What is not guaranteed: that
//! the machine was quiet; the rows say how long the threads had a processor, how often one was switched out,
//! and whether there were more threads than cores.

mod faults;
mod point;
mod rows;
mod run;
mod sweep;
mod teardown;
mod thread;

pub use point::{Counters, FaultWalk, MeasureError, Pattern, Place, Point, Steps, Teardown};
pub use rows::Rows;
pub use run::{Measurement, measure};
pub use sweep::{Progress, sweep};
pub use thread::OfThread;
