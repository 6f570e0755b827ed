//! The places at which `mmu_lock` is taken, and which of them a point comes by: a delay elsewhere has no effect.

use crate::error::MeasureError;
use crate::mix::Class;
use crate::names::{Background, During, Ending};
use crate::plan::{Plan, Teardown};

/// The sites of this crate.
const SITES: &[&str] = &[
    "kvm_handle_guest_abort",
    "kvm_age_gfn",
    "kvm_mmu_wp_memory_region",
    "kvm_unmap_gfn_range",
    "kvm_arch_flush_shadow_memslot",
    "kvm_mmu_split_memory_region",
    "stage2_apply_range:break",
    "kvm_free_stage2_pgd",
    "stage2_destroy_range:break",
];

/// Refuses a name that no lock is taken at. Those of a life cycle are many: they are not checked.
pub(crate) fn known(site: &str, ending: Ending) -> Result<(), MeasureError> {
    if ending != Ending::Table || SITES.contains(&site) {
        return Ok(());
    }
    Err(MeasureError::Name { what: "delay_site", value: site.into(), known: SITES })
}

/// Whether a measurement of `plan` may take a lock there.
pub(crate) fn is_taken(plan: &Plan, site: &str) -> bool {
    let Teardown::Table(table) = &plan.ending else { return true };
    let (background, during) = (plan.background(), plan.during());
    let has = |class| plan.operations.as_ref().is_some_and(|operations| operations.mix.has(class));
    let other_vm = background == Background::OtherVm || during == During::Faults;
    let wrprotects =
        has(Class::Wrprotect) || background == Background::DirtyLog || during == During::DirtyLog;
    match site {
        "kvm_handle_guest_abort" => has(Class::Fault) || other_vm,
        "kvm_age_gfn" => has(Class::Age) || background == Background::Age || during == During::Age,
        "kvm_mmu_wp_memory_region" => wrprotects,
        "kvm_unmap_gfn_range" => has(Class::Unmap) || other_vm,
        "kvm_arch_flush_shadow_memslot" => background == Background::Memslot,
        "kvm_mmu_split_memory_region" => has(Class::Split),
        "stage2_apply_range:break" => has(Class::Unmap) || wrprotects || background == Background::Memslot,
        "stage2_destroy_range:break" => table.breaks,
        _ => true,
    }
}
