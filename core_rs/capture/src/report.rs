//! What a replay did and found, as plain values.

use std::collections::BTreeMap;

use crate::compare::Comparison;
use crate::error::Place;
use crate::invalidations::Invalidations;
use crate::trace::Lost;

/// What a replay did and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// The kernel's banner.
    pub kernel: String,
    /// The traces, in the order of time.
    pub traces: Vec<ReplayedTrace>,
    /// The tables that were rebuilt, in the order of their creation.
    pub vms: Vec<Vm>,
    /// The comparisons, in the order of time.
    pub snapshots: Vec<SnapshotResult>,
    /// Snapshots and dumps that could not be compared.
    pub uncompared: Vec<Uncompared>,
    /// Tables whose creation the trace missed: their operations were skipped.
    pub skipped_vms: Vec<SkippedVm>,
    /// Events that were lost when the trace was recorded.
    pub lost: Vec<Lost>,
    /// Operations that the kernel did not carry out, by name and return code.
    pub failed: BTreeMap<(&'static str, i32), u64>,
    /// Return codes of the replay against those of the kernel.
    pub answers: Answers,
    /// Invalidations of the replay against those of the kernel.
    pub invalidations: Invalidations,
}

/// A trace that was replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayedTrace {
    /// Its scenario.
    pub scenario: String,
    /// Its records.
    pub records: u64,
    /// Operations on tables, of which some failed or were skipped.
    pub operations: u64,
    /// Returns whose call the trace did not see.
    pub unentered: u64,
    /// Calls whose return the trace did not see: what they did is not in the replay.
    pub unreturned: u64,
}

/// A table that was rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    /// Counted from 1, in the order of creation.
    pub number: u32,
    /// The table (`struct kvm_pgtable`), a kernel virtual address; later VMs may reuse it.
    pub pgt: u64,
    /// What it belongs to (`struct kvm_s2_mmu`).
    pub mmu: u64,
    /// The VM (`struct kvm`), where the trace says it.
    pub kvm: Option<u64>,
    /// Its `VTCR_EL2`.
    pub vtcr: u64,
    /// Operations that were carried out on it.
    pub operations: u64,
}

/// How a snapshot compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotResult {
    /// Its name; for a dump without one, the moment at which it was compared.
    pub name: String,
    /// Its file.
    pub file: String,
    /// The number of the VM.
    pub vm: u32,
    /// What was compared.
    pub against: Against,
    /// What came out.
    pub comparison: Comparison,
    /// The debugfs dump of the rebuilt table, if the options asked for it.
    pub dump: Option<String>,
}

/// What a snapshot consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Against {
    /// Raw descriptors.
    Descriptors,
    /// Levels and attributes of ranges (the debugfs dump).
    Attributes,
}

/// A snapshot that could not be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncompared {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Why not.
    pub why: String,
}

/// A table whose creation the trace missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedVm {
    /// The table, a kernel virtual address.
    pub pgt: u64,
    /// Operations on it.
    pub operations: u64,
    /// The first of them.
    pub first: Place,
}

/// Return codes that the kernel and the replay gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Operations that answered the same.
    pub agreed: u64,
    /// Operations that did not.
    pub differing: Vec<AnswerDifference>,
}

/// An operation that answered otherwise in the replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerDifference {
    /// Its record.
    pub at: Place,
    /// Its name.
    pub op: &'static str,
    /// What the kernel answered.
    pub want: i32,
    /// What the replay answered.
    pub got: i32,
}

impl Replay {
    /// The sums over all snapshots; the differences themselves stay with their snapshots.
    pub fn totals(&self) -> Comparison {
        self.snapshots.iter().fold(Comparison::default(), |mut sum, SnapshotResult { comparison, .. }| {
            sum.entries += comparison.entries;
            sum.exact += comparison.exact;
            sum.af_only += comparison.af_only;
            sum.differing += comparison.differing;
            sum
        })
    }
}
