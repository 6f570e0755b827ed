//! The probes of a capture script: which event stands for which function, and which function for which event.

use crate::line::EventLine;
use crate::record::{Spec, spec};

/// The functions of the table, and the event that a probe on each is called.
const PROBES: [(&str, &str); 13] = [
    ("kvm_pgtable_stage2_map", "s2_map"),
    ("kvm_pgtable_stage2_unmap", "s2_unmap"),
    ("kvm_pgtable_stage2_wrprotect", "s2_wrprotect"),
    ("kvm_pgtable_stage2_mkyoung", "s2_mkyoung"),
    ("kvm_pgtable_stage2_test_clear_young", "s2_test_clear_young"),
    ("kvm_pgtable_stage2_relax_perms", "s2_relax_perms"),
    ("kvm_pgtable_stage2_split", "s2_split"),
    ("kvm_pgtable_stage2_destroy_range", "s2_destroy_range"),
    ("kvm_pgtable_stage2_destroy_pgd", "s2_destroy_pgd"),
    ("kvm_pgtable_stage2_destroy", "s2_destroy"),
    ("__kvm_pgtable_stage2_init", "s2_init"),
    ("kvm_init_stage2_mmu", "init_stage2_mmu"),
    ("kvm_arch_flush_shadow_all", "flush_shadow_all"),
];

/// The functions around the table: life cycle, caches, pages, invalidations.
const OTHERS: [(&str, &str); 24] = [
    ("kvm_free_stage2_pgd", "free_stage2_pgd"),
    ("kvm_uninit_stage2_mmu", "uninit_stage2_mmu"),
    ("kvm_arch_flush_shadow_memslot", "flush_shadow_memslot"),
    ("kvm_mmu_notifier_release", "mn_release"),
    ("__mmu_notifier_release", "mm_notifier_release"),
    ("mmu_notifier_unregister", "mn_unregister"),
    ("kvm_destroy_vm", "destroy_vm"),
    ("kvm_arch_destroy_vm", "arch_destroy_vm"),
    ("kvm_put_kvm", "put_kvm"),
    ("kvm_vm_release", "vm_release"),
    ("kvm_vcpu_release", "vcpu_release"),
    ("exit_mmap", "exit_mmap"),
    ("kvm_mmu_free_memory_cache", "mc_free"),
    ("kvm_s2_zalloc_pages_exact", "zalloc_pages_exact"),
    ("stage2_memcache_zalloc_page", "zalloc_page"),
    ("kvm_s2_free_pages_exact", "free_pages_exact"),
    ("kvm_pgtable_stage2_flush", "s2_flush"),
    ("kvm_pgtable_stage2_create_unlinked", "s2_create_unlinked"),
    ("kvm_pgtable_stage2_free_unlinked", "s2_free_unlinked"),
    ("stage2_free_unlinked_table", "free_unlinked_table"),
    ("kvm_tlb_flush_vmid_range", "tlbi_vmid_range"),
    ("__kvm_tlb_flush_vmid_ipa", "tlbi_ipa"),
    ("__kvm_tlb_flush_vmid_range", "tlbi_range"),
    ("__kvm_tlb_flush_vmid", "tlbi_vmid"),
];

/// The kernel's function that the operation `op` stands for; none for what is no function of a task's own.
pub(crate) fn function(op: &str) -> Option<&'static str> {
    PROBES.iter().chain(&OTHERS).find(|(_, known)| *known == op).map(|(function, _)| *function)
}

/// Events that do not happen inside an operation on a table.
pub(crate) const OUTSIDE: [&str; 8] = [
    "tracing_mark_write",
    "kvm_entry",
    "kvm_exit",
    "kvm_guest_fault",
    "kvm_mmio",
    "kvm_userspace_exit",
    "kvm_unmap_hva_range",
    "kvm_age_hva",
];

/// A probe's event, as opposed to an event of the kernel's own that the packed form renames.
pub(crate) fn probe(name: &str) -> Option<&'static Spec> {
    let own = ["guest_fault", "mmu_notifier_invalidate", "mmu_notifier_age", "rwlock_contended", "mark"];
    spec(name).filter(|spec| !own.contains(&spec.op))
}

/// The function that an event of another name probes, and the name that it should have.
pub(crate) fn misnamed<'a>(event: &EventLine<'a>) -> Option<(&'a str, String)> {
    let place = event.args.strip_prefix('(')?;
    let (function, suffix) = match place.split_once("<- ") {
        Some((_, callee)) => (callee.split_once(')')?.0, "_ret"),
        None => (place.split_once("+0x0/")?.0, ""),
    };
    let (_, op) = PROBES.iter().find(|(known, _)| *known == function)?;
    Some((function, format!("{op}{suffix}")))
}
