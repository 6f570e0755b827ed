//! What real kernels recorded, and its replay on the stage-2 table.
//!
//! A capture is a directory: traces of the operations on a VM's stage-2 table (packed, or ftrace's own text),
//! snapshots of the table's memory (or the debugfs dump of it), and `env.json`, which says on what machine. The
//! readers turn them into typed records; [`replay_directory`] carries the operations out on a
//! [`stage2::Table`], and compares it with every snapshot, entry by entry. [`overlaps`] finds where a trace shows
//! the teardown race, and [`kasan_in`] reads what the kernel complained about in its log.
//!
//! What is guaranteed: an input that is cut, out of order, of another format or something else entirely is one
//! [`CaptureError`], which names file, line, cause and what was expected; no input panics. What a capture may
//! lack in good faith (events that the kernel dropped, a beginning in the middle) is named in the result.
//! What is not: a trace holds what its probes saw; a change to a table that none of them sees is a difference.

mod calls;
mod chain;
mod compare;
mod console;
mod directory;
mod env;
mod error;
mod fields;
mod ftrace;
mod invalidations;
mod json;
mod kasan;
mod ladder;
mod line;
mod lock_stat;
mod objects;
mod overlap;
mod packed;
mod probes;
mod ptdump;
mod record;
mod replay;
mod report;
mod snapshot;
mod text;
mod trace;
mod vtcr;

pub use chain::{ChainComparison, compare_chains};
pub use compare::{Comparison, Difference};
pub use directory::Source;
pub use env::{Environment, parse_environment};
pub use error::{CaptureError, Place};
pub use fields::LockFlags;
pub use ftrace::parse_ftrace;
pub use invalidations::{InvalidationDifference, Invalidations};
pub use kasan::{Access, Frame, KasanReport, SlabObject, Task, Track, parse_kasan};
pub use ladder::{Ladder, Step};
pub use lock_stat::{ContentionPoint, LockStat, LockStatRow, PointKind, Side, parse_lock_stat};
pub use objects::{Known, KnownCall, kasan_in, name_objects};
pub use overlap::{Overlap, OverlapSide, Shared, TraceOverlaps, overlaps, overlaps_in};
pub use packed::parse_ops;
pub use ptdump::{Dump, DumpFlags, Range, parse_ptdump};
pub use record::{Comm, Event, Record, SnapshotMark};
pub use replay::{Options, replay_directory};
pub use report::{
    Against, AnswerDifference, Answers, Replay, ReplayedTrace, SkippedVm, SnapshotResult, Uncompared, Vm,
};
pub use snapshot::{Snapshot, SnapshotEntry, parse_snapshots};
pub use trace::{Lost, Missing, Trace, Unpaired};
