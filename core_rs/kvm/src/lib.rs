//! The life cycle of a KVM virtual machine as far as it bears on the teardown of its stage-2 table.
//!
//! Objects, counts, locks and read sections are the kernel's, step by step, and sites have the kernel's function
//! names; the table is [`stage2::Table`]. What differs between kernels is a [`Variant`], what was proposed
//! against the race of May 2026 is a [`Strategy`], and who does what is a [`Scenario`]; the three make a
//! [`Case`], which an explorer runs on coroutines and [`Case::run_on_threads`] on real threads. [`AtSize`] runs the end of
//! a VM on real threads over a guest of gigabytes: the same tasks, the same code.
//!
//! ```
//! use kvm::Case;
//! use runtime::scheduled::{Outcome, Program, Replay, run};
//!
//! let case = Case::new("flush-race".parse()?, "arm64-7.3".parse()?, "claim-under-lock".parse()?)?;
//! let instance = case.start();
//! let execution = run(instance.threads, &mut Replay(vec![])); // one thread after the other
//! assert_eq!(execution.outcome, Outcome::Finished);
//! assert_eq!((instance.end)(), []);
//! # Ok::<(), kvm::Error>(())
//! ```
//!
//! # Lock order
//! `kvm->lock` outside `vcpu->mutex` outside `slots_lock` outside `slots_arch_lock` and `config_lock`; `mmu_lock` and
//! `mn_invalidate_lock` are innermost. `synchronize_srcu(&kvm->srcu)` is called inside the first three, so none of them
//! may be taken inside a read section of it, where every notifier callback runs. Who installs a slot waits for
//! invalidations in flight with `slots_lock` and `slots_arch_lock` held, so a callback may take neither. Nothing here
//! checks the order: explorers do.
//!
//! # What is left out
//! Interrupts, devices but for the reference they hold and their place on the bus, `mmap_lock`, more than two slots a VM,
//! file-backed memory, pKVM. Nothing that is left out takes or drops one of the locks or counts that are modelled. A fault
//! that loses its walk to another vCPU ends; upstream's guest would fault again. Who waits for invalidations looks at
//! their count; upstream's is woken.

mod at_size;
mod error;
mod files;
mod guest;
mod heap;
mod memory_cache;
mod memslots;
mod mm;
mod mmu;
mod mmu_lock;
mod named;
mod nested;
mod notifier;
mod orderings;
mod plain_table;
mod program;
mod riscv;
mod scenario;
mod slots;
mod stale_ranges;
mod step;
mod strategy;
mod task;
mod variant;
mod vcpu;
mod vm;
mod word_names;
mod world;

pub use at_size::{AtSize, Beside, OnThreads, Order, Prepared, TornDown};
pub use error::Error;
pub use heap::{Harm, Memory};
pub use named::Regression;
pub use orderings::{Ordering, Orderings, Path, PathKind, orderings};
pub use program::{Case, Outcome};
pub use scenario::{Cache, Scenario, SetUp, Shape, Task};
pub use step::{Fd, FdKind, MAX_SLOTS, MAX_TOLD, MAX_VCPUS, MAX_VMS, Step};
pub use strategy::{Helpers, Hold, Part, Strategy};
pub use variant::{Arch, Destroy, Nested, Variant};

/// The functions that call chains of a case consist of: those that a kernel's own stacks show too, and none that
/// compilers inline.
pub const CALLS: [&str; 18] = [
    "do_exit",
    "mmput",
    "exit_mmap",
    "__mmu_notifier_release",
    "mmu_notifier_unregister",
    "kvm_mmu_notifier_release",
    "kvm_vm_release",
    "kvm_vcpu_release",
    "kvm_destroy_vm",
    "kvm_arch_destroy_vm",
    "kvm_arch_flush_shadow_all",
    "kvm_uninit_stage2_mmu",
    "kvm_free_stage2_pgd",
    "kvm_mmu_free_memory_cache",
    "__kvm_mmu_topup_memory_cache",
    "kvm_arch_commit_memory_region",
    "kvm_nested_s2_unmap",
    "kvm_vcpu_init_nested",
];
