//! One record of a capture: a call with its entry and return, or a single event. Both readers, of the packed
//! files and of the raw trace, make the same records.
//!
//! Guarantee: a record is complete; every field of its event was there and had the form the probe gives it.

use std::fmt;

use crate::fields::{Field, FieldError, Fields, Flag, Hex, Int, Level, LockFlags, Text};

/// A call or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the call was entered, in microseconds of the trace's clock; equal to `t1_us` for a single event.
    pub t0_us: u64,
    /// When the call returned, or when the event happened, in microseconds.
    pub t1_us: u64,
    /// The line of the file: that of the return, where a call has two.
    pub line: u32,
    /// The task.
    pub pid: u32,
    /// The processor on which it returned.
    pub cpu: u32,
    /// The task's name.
    pub comm: Comm,
    /// What it was.
    pub event: Event,
}

/// The name of a task: up to 16 bytes, as the kernel keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Comm {
    bytes: [u8; 16],
    len: u8,
}

impl Comm {
    /// `None` when the name is longer than a task's name can be.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self { bytes, len: name.len() as u8 })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("made from text")
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// How an operation shows in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A probe at entry and one at return: two lines of a raw trace, `t0` and `t1` when packed.
    Call,
    /// One line, one time.
    Single,
    /// Either: kernels before 7.x destroy in one call, which a set of probes may take at entry only.
    Either,
}

/// What the readers know about an operation.
pub(crate) struct Spec {
    pub(crate) op: &'static str,
    pub(crate) shape: Shape,
    pub(crate) fields: &'static [&'static str],
    pub(crate) build: fn(&mut Fields<'_>) -> Result<Event, FieldError>,
}

impl Spec {
    /// Whether it is an operation that [`Event::table`] names: such calls do not nest in each other.
    pub(crate) fn is_table_op(&self) -> bool {
        const PARTS: [&str; 3] = ["s2_init", "s2_create_unlinked", "s2_free_unlinked"];
        self.op.starts_with("s2_") && !PARTS.contains(&self.op)
    }
}

macro_rules! events {
    (@key $field:ident $key:literal) => { $key };
    (@key $field:ident) => { stringify!($field) };
    ($( $(#[$doc:meta])* $shape:ident $variant:ident = $op:literal {
        $( $field:ident $(as $key:literal)? : $kind:ty ),*
    } )*) => {
        /// What a record says. Addresses are kernel virtual ones unless the field says otherwise; `addr`
        /// and `ipa` are guest physical, `phys` is host physical.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Event {
            $( $(#[$doc])* $variant {
                $( #[doc = concat!("`", events!(@key $field $($key)?), "` of the probe.")] $field: $kind ),*
            } ),*
        }

        impl Event {
            /// Every operation that a capture may hold, by the name the packed files give it.
            pub const OPS: &'static [&'static str] = &[$( $op ),*];

            /// The name of the operation in the packed files.
            pub fn op(&self) -> &'static str {
                match self { $( Self::$variant { .. } => $op ),* }
            }
        }

        /// What is known about the operation `op`.
        pub(crate) fn spec(op: &str) -> Option<&'static Spec> {
            match op {
                $( $op => {
                    const SPEC: &Spec = &Spec {
                        op: $op,
                        shape: Shape::$shape,
                        fields: &[$( events!(@key $field $($key)?) ),*],
                        build: |fields| Ok(Event::$variant {
                            $( $field: <$kind as Field>::take(fields, events!(@key $field $($key)?))? ),*
                        }),
                    };
                    Some(SPEC)
                } )*
                _ => None,
            }
        }
    };
}

events! {
    /// `kvm_pgtable_stage2_map`.
    Call Map = "s2_map" { pgt: Hex, addr: Hex, size: Hex, phys: Hex, prot: Hex, flags: Hex, ret: Int }
    /// `kvm_pgtable_stage2_unmap`.
    Call Unmap = "s2_unmap" { pgt: Hex, addr: Hex, size: Hex, ret: Int }
    /// `kvm_pgtable_stage2_wrprotect`.
    Call Wrprotect = "s2_wrprotect" { pgt: Hex, addr: Hex, size: Hex, ret: Int }
    /// `kvm_pgtable_stage2_mkyoung`.
    Call Mkyoung = "s2_mkyoung" { pgt: Hex, addr: Hex, flags: Hex }
    /// `kvm_pgtable_stage2_test_clear_young`.
    Call TestClearYoung = "s2_test_clear_young" { pgt: Hex, addr: Hex, size: Hex, mkold: Flag, ret: Flag }
    /// `kvm_pgtable_stage2_relax_perms`.
    Call RelaxPerms = "s2_relax_perms" { pgt: Hex, addr: Hex, prot: Hex, flags: Hex, ret: Int }
    /// `kvm_pgtable_stage2_flush`.
    Either Flush = "s2_flush" { pgt: Hex, addr: Hex, size: Hex }
    /// `kvm_pgtable_stage2_split`.
    Call Split = "s2_split" { pgt: Hex, addr: Hex, size: Hex, mc: Hex, ret: Int }
    /// `kvm_pgtable_stage2_create_unlinked`, a part of a split; `ret` is the new table's address.
    Call CreateUnlinked = "s2_create_unlinked" {
        pgt: Hex, phys: Hex, level: Level, prot: Hex, mc: Hex, force_pte: Flag, ret: Hex
    }
    /// `kvm_pgtable_stage2_free_unlinked`, a part of a map or a split.
    Either FreeUnlinked = "s2_free_unlinked" { mm_ops: Hex, table: Hex, level: Level }
    /// `kvm_pgtable_stage2_destroy_range` (7.3).
    Call DestroyRange = "s2_destroy_range" { pgt: Hex, addr: Hex, size: Hex }
    /// `kvm_pgtable_stage2_destroy_pgd` (7.3).
    Call DestroyPgd = "s2_destroy_pgd" { pgt: Hex }
    /// `kvm_pgtable_stage2_destroy` (6.12): the whole table in one walk.
    Either Destroy = "s2_destroy" { pgt: Hex }
    /// `__kvm_pgtable_stage2_init`: a table begins.
    Call Init = "s2_init" { pgt: Hex, mmu: Hex, mm_ops: Hex, flags: Hex, vtcr: Hex, ret: Int }
    /// `kvm_init_stage2_mmu`, around it.
    Call InitStage2Mmu = "init_stage2_mmu" { kvm: Hex, mmu: Hex, vm_type as "type": Hex, ret: Int }
    /// `kvm_free_stage2_pgd`; the values are those at entry.
    Call FreeStage2Pgd = "free_stage2_pgd" { mmu: Hex, pgt: Hex, pgd_phys: Hex }
    /// `kvm_uninit_stage2_mmu`.
    Call UninitStage2Mmu = "uninit_stage2_mmu" { kvm: Hex }
    /// `kvm_arch_flush_shadow_all`.
    Call FlushShadowAll = "flush_shadow_all" { kvm: Hex }
    /// `kvm_arch_flush_shadow_memslot`; `base_gfn` and `npages` are read at offsets of one build.
    Either FlushShadowMemslot = "flush_shadow_memslot" { kvm: Hex, base_gfn: Hex, npages: Hex }
    /// `kvm_mmu_notifier_release`.
    Call MnRelease = "mn_release" { mn: Hex, mm: Hex }
    /// `__mmu_notifier_release`.
    Call MmNotifierRelease = "mm_notifier_release" { mm: Hex }
    /// `mmu_notifier_unregister`.
    Call MnUnregister = "mn_unregister" { mn: Hex, mm: Hex }
    /// `kvm_destroy_vm`.
    Call DestroyVm = "destroy_vm" { kvm: Hex }
    /// `kvm_arch_destroy_vm`.
    Call ArchDestroyVm = "arch_destroy_vm" { kvm: Hex }
    /// `kvm_put_kvm`.
    Either PutKvm = "put_kvm" { kvm: Hex }
    /// `kvm_vm_release`.
    Either VmRelease = "vm_release" { inode: Hex, filp: Hex }
    /// `kvm_vcpu_release`.
    Either VcpuRelease = "vcpu_release" { inode: Hex, filp: Hex }
    /// `exit_mmap`.
    Call ExitMmap = "exit_mmap" { mm: Hex }
    /// `kvm_mmu_free_memory_cache`; `nobjs` and `objects` are the values at entry.
    Call McFree = "mc_free" { mc: Hex, nobjs: Int, objects: Hex }
    /// `kvm_s2_zalloc_pages_exact`: the root.
    Call ZallocPagesExact = "zalloc_pages_exact" { size: Hex, va: Hex }
    /// `stage2_memcache_zalloc_page`: a table page.
    Single ZallocPage = "zalloc_page" { va: Hex }
    /// `kvm_s2_free_pages_exact`.
    Either FreePagesExact = "free_pages_exact" { va: Hex, size: Hex }
    /// `stage2_free_unlinked_table`.
    Either FreeUnlinkedTable = "free_unlinked_table" { va: Hex, level: Level }
    /// `stage2_free_unlinked_table_rcu_cb`.
    Either FreeUnlinkedRcu = "free_unlinked_rcu" { head: Hex }
    /// `kvm_tlb_flush_vmid_range`: wraps the `tlbi_range` or `tlbi_vmid` that follow.
    Either TlbiVmidRange = "tlbi_vmid_range" { mmu: Hex, addr: Hex, size: Hex }
    /// `__kvm_tlb_flush_vmid_ipa`.
    Either TlbiIpa = "tlbi_ipa" { mmu: Hex, ipa: Hex, level: Level }
    /// `__kvm_tlb_flush_vmid_ipa_nsh`.
    Either TlbiIpaNsh = "tlbi_ipa_nsh" { mmu: Hex, ipa: Hex, level: Level }
    /// `__kvm_tlb_flush_vmid_range`.
    Either TlbiRange = "tlbi_range" { mmu: Hex, start: Hex, pages: Hex }
    /// `__kvm_tlb_flush_vmid`.
    Either TlbiVmid = "tlbi_vmid" { mmu: Hex }
    /// `kvm:kvm_guest_fault`.
    Single GuestFault = "guest_fault" { ipa: Hex, hsr: Hex, hxfar: Hex, pc: Hex }
    /// `kvm:kvm_unmap_hva_range`, in host virtual addresses.
    Single MmuNotifierInvalidate = "mmu_notifier_invalidate" { start: Hex, end: Hex }
    /// `kvm:kvm_age_hva`, in host virtual addresses.
    Single MmuNotifierAge = "mmu_notifier_age" { start: Hex, end: Hex }
    /// `lock:contention_begin` to `lock:contention_end` of a lock that is taken for read or write.
    Call RwlockContended = "rwlock_contended" { lock: Hex, lflags: LockFlags }
    /// What somebody wrote to `trace_marker`.
    Single Mark = "mark" { text: Text }
}

/// A mark that says: here the table was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotMark<'a> {
    /// The name of the snapshot.
    pub name: &'a str,
    /// Whose table, where the mark says it.
    pub pgt: Option<u64>,
}

impl Event {
    /// The snapshot that a mark `SNAPSHOT name [key=value ...]` stands for.
    pub fn snapshot(&self) -> Option<SnapshotMark<'_>> {
        let Self::Mark { text } = self else { return None };
        let mut words = text.strip_prefix("SNAPSHOT ")?.split_ascii_whitespace();
        let name = words.next()?;
        let pgt = words.find_map(|word| Hex::parse(word.strip_prefix("pgt=")?));
        Some(SnapshotMark { name, pgt })
    }

    /// The VM that a call of the life cycle has for its argument.
    pub fn kvm(&self) -> Option<u64> {
        match *self {
            Self::InitStage2Mmu { kvm, .. }
            | Self::UninitStage2Mmu { kvm }
            | Self::FlushShadowAll { kvm }
            | Self::FlushShadowMemslot { kvm, .. }
            | Self::DestroyVm { kvm }
            | Self::ArchDestroyVm { kvm }
            | Self::PutKvm { kvm } => Some(kvm),
            _ => None,
        }
    }

    /// The table that an operation works on; none for what is not an operation on a table, and for the
    /// parts of one ([`Event::CreateUnlinked`], [`Event::FreeUnlinked`]).
    pub fn table(&self) -> Option<u64> {
        match *self {
            Self::Map { pgt, .. }
            | Self::Unmap { pgt, .. }
            | Self::Wrprotect { pgt, .. }
            | Self::Mkyoung { pgt, .. }
            | Self::TestClearYoung { pgt, .. }
            | Self::RelaxPerms { pgt, .. }
            | Self::Flush { pgt, .. }
            | Self::Split { pgt, .. }
            | Self::DestroyRange { pgt, .. }
            | Self::DestroyPgd { pgt }
            | Self::Destroy { pgt } => Some(pgt),
            _ => None,
        }
    }
}
