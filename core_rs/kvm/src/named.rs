//! The named scenarios, and the regression corpus that is made of them.

use crate::error::Error;
use crate::program::Case;
use crate::scenario::Scenario;
use crate::strategy::Strategy;
use crate::variant::Variant;

/// Name, what it shows, and text.
const NAMED: &[(&str, &str, &str)] = &[
    // The race, by what flush finds to free.
    (
        "flush-race",
        "exit_mm against the last close of the VM in another task; eager splitting was never used",
        "task T1: exit; task T2 fds=vm: close vm",
    ),
    (
        "flush-race-filled",
        "the flush race with a split cache that holds a page",
        "setup cache=filled; task T1: exit; task T2 fds=vm: close vm",
    ),
    (
        "flush-race-used-up",
        "the flush race with a split cache whose pages are used up",
        "setup cache=used-up; task T1: exit; task T2 fds=vm: close vm",
    ),
    (
        "flush-race-nested",
        "the flush race with a nested mmu",
        "setup nested=1; task T1: exit; task T2 fds=vm: close vm",
    ),
    (
        "flush-race-vmalloc",
        "the flush race with arrays from vmalloc, whose freeing may sleep",
        "setup cache=filled nested=1 arrays=vmalloc; task T1: exit; task T2 fds=vm: close vm",
    ),
    // Other ways to two flushes.
    (
        "exec-race",
        "execve, another way to exit_mmap, against the last close",
        "setup cache=filled; task T1: exec; task T2 fds=vm: close vm",
    ),
    (
        "smaps-race",
        "a killed VMM alone, while a reader of its smaps holds mm_users: the reader runs exit_mmap, the VMM closes",
        "setup cache=filled; task T1 fds=vm: exit; task R: get_mm T1, put_mm T1",
    ),
    (
        "shared-mm-race",
        "two tasks that share the address space but not the files",
        "setup cache=filled; task T1 fds=vm: exit; task T2 mm=T1: exit",
    ),
    (
        "shared-files-race",
        "two tasks that share the files but not the address space; the second closes",
        "setup cache=filled; task T1 fds=vm: exit; task T2 files=T1: close vm, exit",
    ),
    (
        "debugfs-race",
        "exit_mm against a reader of the debugfs dump, who closes last",
        "setup cache=filled; task T1 fds=vm: close vm, exit; task R: open_dump, read_dump, close dump",
    ),
    (
        "stats-race",
        "exit_mm against the last close, of a statistics descriptor",
        "setup cache=filled; task T1: exit; task T2 fds=vm,stats: close vm, close stats",
    ),
    (
        "gmem-race",
        "exit_mm against the last close, of a guest_memfd, which unmaps first",
        "setup cache=filled; task T1: exit; task T2 fds=gmem: close gmem",
    ),
    (
        "second-vm-race",
        "two VMs of one address space: exit_mm flushes both, while another task closes the first",
        "setup cache=filled; task T1 fds=2:vm: exit; task T2 fds=vm: close vm",
    ),
    // One flush.
    (
        "flush-alone",
        "a VM is closed, then its address space goes",
        "setup cache=filled nested=1; task T1 fds=vm: close vm, exit",
    ),
    (
        "kill",
        "a killed VMM: exit_mm, then exit_files",
        "setup cache=filled nested=1; task T1 fds=vm,vcpu0: exit",
    ),
    (
        "kill-threads",
        "another task kills a VMM of two threads",
        "setup cache=filled; task T1 fds=vm: ; task T2 mm=T1 files=T1: ; task K: kill T1, kill T2",
    ),
    (
        "second-vm",
        "a VMM destroys a VM and creates another in the same process",
        "setup cache=filled; task T1 fds=vm: close vm, 2:create_vm, 2:create_slot, exit",
    ),
    (
        "second-vm-beside",
        "one task destroys a VM while another of the same process creates the next",
        "task T1 fds=vm: close vm; task T2 mm=T1 files=T1: 2:create_vm",
    ),
    (
        "pass-the-fd",
        "a VMM creates a VM, passes it on, closes it and goes; the receiver closes it",
        "task T1: create_vm, send vm, close vm, exit; task T2: receive vm, close vm",
    ),
    (
        "run-mapping",
        "a mapping of kvm_run keeps the VM until exit_mmap is almost over",
        "setup cache=filled; task T1 fds=run0: exit; task T2 fds=vm: close vm",
    ),
    (
        "held-elsewhere",
        "the VMM goes while another task holds the VM, and uses no more of it",
        "setup cache=filled; task T1: exit; task T2 fds=vm:",
    ),
    (
        "memslots-first",
        "a courteous VMM: delete the slot, close, exit",
        "setup cache=filled; task T1 fds=vm: delete_slot, close vm, exit",
    ),
    // One flush against others.
    ("flush-age", "exit_mm against ageing by reclaim", "task T1 fds=vm: exit; task kswapd: age T1"),
    (
        "flush-unmap",
        "exit_mm against a blockable unmap by reclaim, whose two steps have a lock break between",
        "setup pages=2; task T1 fds=vm: exit; task kswapd: reclaim T1",
    ),
    (
        "flush-unmap-nonblock",
        "the same against an unmap that may not block, as the OOM reaper's: no lock break",
        "setup pages=2; task T1 fds=vm: exit; task reaper: reclaim_nonblock T1",
    ),
    (
        "flush-unmap-nested",
        "exit_mm against a blockable unmap by reclaim with a nested mmu, which the unmap walks too",
        "setup nested=1; task T1 fds=vm: exit; task kswapd: reclaim T1",
    ),
    (
        "destroy-unmap",
        "the last close against a blockable unmap by reclaim",
        "setup pages=2; task T1 fds=vm: close vm; task kswapd: reclaim T1",
    ),
    (
        "flush-dump",
        "exit_mm against a reader who has the debugfs dump open",
        "task T1 fds=vm: exit; task R fds=dump: read_dump",
    ),
    (
        "flush-punch",
        "exit_mm against a hole that another process punches into the guest_memfd",
        "setup pages=2; task T1 fds=vm: exit; task T2 fds=gmem: punch",
    ),
    // A live VM.
    (
        "fault-munmap",
        "a fault, and the guest's next access, against munmap",
        "setup mapped=no; task T1 fds=vm,vcpu0: fault 0, touch 0; task T2 mm=T1 files=T1: munmap",
    ),
    (
        "fault-reclaim",
        "a fault, and the guest's next access, against reclaim",
        "setup mapped=no; task T1 fds=vm,vcpu0: fault 0, touch 0; task kswapd: reclaim T1",
    ),
    (
        "fault-delete-slot",
        "a fault against the deletion of the slot",
        "setup mapped=no; task T1 fds=vm,vcpu0: fault 0; task T2 mm=T1 files=T1: delete_slot",
    ),
    (
        "fault-log-dirty",
        "a fault, and the guest's next access, against the beginning of dirty logging",
        "setup mapped=no; task T1 fds=vm,vcpu0: fault 0, touch 0; task T2 mm=T1 files=T1: log_dirty",
    ),
    (
        "delete-slot-reclaim",
        "the deletion of a slot in two steps against reclaim, with a lock break on both sides",
        "setup pages=2; task T1 fds=vm: delete_slot; task kswapd: reclaim T1",
    ),
    (
        "create-slot-reclaim",
        "a slot is made, which waits until no invalidation is in flight, against reclaim",
        "setup slot=no mapped=no; task T1 fds=vm: create_slot; task kswapd: reclaim T1",
    ),
    (
        "two-slots",
        "one of two slots is deleted against reclaim, which unmaps both",
        "setup pages=2 slots=2; task T1 fds=vm: delete_slot; task kswapd: reclaim T1",
    ),
    (
        "lock-order",
        "kvm->lock, vcpu->mutex, slots_lock and what is under them, in the order that they have",
        "task T1: create_vm, create_device, create_vcpu 0, first_run, create_slot, fault 0, delete_slot, exit; \
         task kswapd: reclaim T1",
    ),
    (
        "fault-fault",
        "two vCPUs fault on one page",
        "setup mapped=no; task T1 fds=vm,vcpu0: fault 0; task T2 mm=T1 files=T1 fds=vcpu1: fault 0",
    ),
    (
        "split-reclaim",
        "dirty logging with an eager split, which drops the lock to fill its cache, against reclaim",
        "setup pages=2 block=yes; task T1 fds=vm: log_dirty; task kswapd: reclaim T1",
    ),
    (
        "grow-unmap",
        "KVM_ARM_VCPU_INIT adds nested mmus while reclaim unmaps (Jun 2026)",
        "setup nested=1; task T1 fds=vm,vcpu0: vcpu_init; task kswapd: reclaim T1",
    ),
    // What reviewers said.
    (
        "objection-create-error",
        "creation's error path calls kvm_uninit_stage2_mmu, without mmu_lock",
        "task T1: create_vm_fails, exit",
    ),
    (
        "objection-commit",
        "kvm_arch_commit_memory_region frees the split cache under slots_lock, without mmu_lock: against exit and close",
        "setup cache=filled; task T1 fds=vm: delete_slot, exit; task T2 fds=vm: close vm",
    ),
    (
        "objection-commit-threads",
        "the same from two threads of the VMM",
        "setup cache=filled; task T1 fds=vm: delete_slot, exit; task T2 mm=T1 files=T1: exit; task T3 fds=vm: close vm",
    ),
    (
        "objection-chunk-size",
        "the chunk size of eager splits is set again on a live VM, after its last slot was deleted",
        "setup cache=filled; task T1 fds=vm: delete_slot, set_chunk 2, create_slot, log_dirty, exit; task T2 fds=vm: close vm",
    ),
    // A set of steps to put in order.
    (
        "every-order",
        "two VMs, vCPU, slot, a descriptor that is passed, and a kill at any time: for orderings",
        "setup cache=filled; task T1: create_vm, create_vcpu 0, create_slot, delete_slot, send vm, close vcpu0, close vm, \
         2:create_vm, close 2:vm, exit; task T2: receive vm, close vm; task K: kill T1",
    ),
    // Shapes of the corpus.
    (
        "stall",
        "a big table is destroyed (Jul-Nov 2025)",
        "setup pages=256 shape=big; task T1 fds=vm: close vm",
    ),
    (
        "stale-ranges",
        "a table with a level above the step is destroyed in ranges (Sep 2025)",
        "setup pages=4 shape=deep; task T1 fds=vm: close vm",
    ),
];

/// A bug of the regression corpus: where it is, and where it is fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// Its name.
    pub name: &'static str,
    /// When it was reported.
    pub when: &'static str,
    /// The case that has it.
    pub before: Case,
    /// The same scenario where it is fixed.
    pub after: Case,
}

/// Name, time, scenario; variant and strategy before and after.
type Row =
    (&'static str, &'static str, &'static str, (&'static str, &'static str), (&'static str, &'static str));

const CORPUS: [Row; 6] = [
    ("stall", "Jul-Nov 2025", "stall", ("arm64-whole-destroy", "none"), ("arm64-7.3", "none")),
    ("stale-ranges", "Sep 2025", "stale-ranges", ("arm64-stale-ranges", "none"), ("arm64-7.3", "none")),
    ("early-return", "Feb 2026", "held-elsewhere", ("arm64-early-return", "none"), ("arm64-7.3", "none")),
    (
        "double-free",
        "May 2026",
        "flush-race-filled",
        ("arm64-7.3", "none"),
        ("arm64-7.3", "claim-under-lock"),
    ),
    (
        "double-free-nested",
        "May 2026",
        "flush-race-nested",
        ("arm64-6.12", "none"),
        ("arm64-6.12", "claim-under-lock"),
    ),
    ("nested-growth", "Jun 2026", "grow-unmap", ("arm64-6.12", "none"), ("arm64-7.3", "none")),
];

impl Regression {
    /// The corpus.
    pub fn corpus() -> Vec<Self> {
        let case = |scenario: &str, (variant, strategy): (&str, &str)| -> Result<Case, Error> {
            Case::new(scenario.parse()?, variant.parse::<Variant>()?, strategy.parse::<Strategy>()?)
        };
        let row = |(name, when, scenario, before, after): Row| -> Result<Self, Error> {
            Ok(Self { name, when, before: case(scenario, before)?, after: case(scenario, after)? })
        };
        CORPUS.into_iter().map(|of| row(of).expect("the corpus names what there is")).collect()
    }
}

impl Scenario {
    /// Their names.
    pub(crate) fn names() -> Vec<&'static str> {
        NAMED.iter().map(|(name, ..)| *name).collect()
    }

    /// The scenarios that have a name.
    pub fn named() -> Vec<Self> {
        let read = |(name, about, text): &(&str, &str, &str)| {
            let scenario = Self::from_text(text).expect("the text of a named scenario");
            Self { name: (*name).to_owned(), about: (*about).to_owned(), ..scenario }
        };
        NAMED.iter().map(read).collect()
    }
}
