//! What the words of kernel objects are called, for ladders and data races: C's own way to write a field.
//!
//! Not named: words of tables, and arrays whose elements are all alike; they go by their object's name.

use crate::memory_cache::{CACHE_WORDS, CAPACITY, NOBJS, OBJECTS};
use crate::mm::{MM_COUNT, MM_USERS, NOTIFIER_LIST};
use crate::mmu::{LAST_VCPU_RAN, MMU_WORDS, PGD_PHYS, PGT, VALID};
use crate::variant::{Arch, Nested, Variant};
use crate::vm;

/// The name of a word of an object.
pub(crate) fn word_name(variant: &Variant, object: &str, word: usize) -> Option<&'static str> {
    match object {
        "kvm" => of_kvm(variant.arch, word),
        "mm_struct" => Some(match word {
            MM_USERS => "mm->mm_users",
            MM_COUNT => "mm->mm_count",
            NOTIFIER_LIST => "mm->notifier_subscriptions->list",
            _ => return None,
        }),
        "kvm.arch.nested_mmus" if variant.nested == Nested::Array => of_mmu("nested_mmu", word % MMU_WORDS),
        "kvm_s2_mmu" => of_mmu("nested_mmu", word),
        "file" => Some("file->f_count"),
        "kvm_memory_slot" => Some("memslot->flags"),
        "task_struct" => Some(["task->mm", "task->pending"][word.min(1)]),
        "files_struct" => Some(if word == 0 { "files->count" } else { "files->fdt->fd[]" }),
        _ => None,
    }
}

fn of_kvm(arch: Arch, word: usize) -> Option<&'static str> {
    if let Some(field) = word.checked_sub(vm::SPLIT_CACHE).filter(|field| *field < CACHE_WORDS) {
        return of_cache(arch, field);
    }
    if let Some(field) = word.checked_sub(vm::MMU).filter(|field| *field < MMU_WORDS) {
        return match (arch, field) {
            (Arch::Arm64, _) => of_mmu("kvm->arch.mmu", field),
            (Arch::Riscv | Arch::Loongarch, PGT) => Some("kvm->arch.pgd"),
            (Arch::Mips, PGT) => Some("kvm->arch.gpa_mm.pgd"),
            (_, PGD_PHYS) => Some("kvm->arch.pgd_phys"),
            _ => None,
        };
    }
    Some(match word {
        vm::USERS_COUNT => "kvm->users_count",
        vm::MEMSLOTS..vm::VCPUS => "kvm->memslots[]",
        vm::INVALIDATE_SEQ => "kvm->mmu_invalidate_seq",
        vm::INVALIDATE_IN_PROGRESS => "kvm->mmu_invalidate_in_progress",
        vm::PPREV => "kvm->mmu_notifier.hlist.pprev",
        vm::NEXT => "kvm->mmu_notifier.hlist.next",
        vm::NESTED_MMUS => "kvm->arch.nested_mmus",
        vm::NESTED_MMUS_SIZE => "kvm->arch.nested_mmus_size",
        vm::CHUNK => "kvm->arch.mmu.split_page_chunk_size",
        vm::VM_LIST => "kvm->vm_list",
        vm::ACTIVE_INVALIDATE_COUNT => "kvm->mn_active_invalidate_count",
        vm::BUS => "kvm->buses[]",
        vm::VCPUS..vm::MMU => "kvm->vcpu_array[]",
        _ => return None,
    })
}

fn of_mmu(mmu: &'static str, field: usize) -> Option<&'static str> {
    Some(match (mmu, field) {
        ("kvm->arch.mmu", PGT) => "kvm->arch.mmu.pgt",
        ("kvm->arch.mmu", PGD_PHYS) => "kvm->arch.mmu.pgd_phys",
        ("kvm->arch.mmu", LAST_VCPU_RAN) => "kvm->arch.mmu.last_vcpu_ran",
        (_, PGT) => "nested_mmu->pgt",
        (_, PGD_PHYS) => "nested_mmu->pgd_phys",
        (_, LAST_VCPU_RAN) => "nested_mmu->last_vcpu_ran",
        (_, VALID) => "nested_mmu->valid",
        _ => return None,
    })
}

/// The split cache, which riscv keeps elsewhere.
fn of_cache(arch: Arch, field: usize) -> Option<&'static str> {
    Some(match (arch, field) {
        (Arch::Riscv, NOBJS) => "kvm->arch.pgd_split_page_cache.nobjs",
        (Arch::Riscv, OBJECTS) => "kvm->arch.pgd_split_page_cache.objects",
        (Arch::Riscv, CAPACITY) => "kvm->arch.pgd_split_page_cache.capacity",
        (_, NOBJS) => "kvm->arch.mmu.split_page_cache.nobjs",
        (_, OBJECTS) => "kvm->arch.mmu.split_page_cache.objects",
        (_, CAPACITY) => "kvm->arch.mmu.split_page_cache.capacity",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::word_name;
    use crate::vm::KVM_WORDS;

    #[test]
    fn every_word_of_a_kvm_has_one_name_but_in_arrays() {
        let variant = "arm64-7.3".parse().unwrap();
        let mut names: Vec<_> = (0..KVM_WORDS).filter_map(|word| word_name(&variant, "kvm", word)).collect();
        assert!(names.contains(&"kvm->arch.mmu.split_page_cache.objects"));
        names.retain(|name| !name.ends_with("[]"));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
