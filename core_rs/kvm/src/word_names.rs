//! What the words of kernel objects are called, and what pointers lead to, for ladders and data races: C's own way
//! to write a field.
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
        "kvm_pgtable" => Some("pgt->pgd"),
        "task_struct" => Some(["task->mm", "task->pending"][word.min(1)]),
        "files_struct" => Some(if word == 0 { "files->count" } else { "files->fdt->fd[]" }),
        _ => None,
    }
}

/// What a pointer in a word of an object leads to; nothing for words that hold no pointers.
pub(crate) fn pointee(variant: &Variant, object: &str, word: usize, value: u64) -> Option<&'static str> {
    match object {
        "kvm" => match word {
            vm::MEMSLOTS..vm::VCPUS => Some("memslot"),
            vm::BUS => Some("bus"),
            vm::NESTED_MMUS => Some("nested_mmus"),
            vm::VCPUS..vm::MMU => Some("vcpu"),
            _ if word == vm::SPLIT_CACHE + OBJECTS => Some("objects"),
            _ => of_mmu_leads_to(variant.arch, word.checked_sub(vm::MMU)?),
        },
        "kvm.arch.nested_mmus" if variant.nested == Nested::Array => {
            of_mmu_leads_to(variant.arch, word % MMU_WORDS)
        }
        "kvm.arch.nested_mmus" => Some("nested_mmu"),
        "kvm_s2_mmu" => of_mmu_leads_to(variant.arch, word),
        "kvm.arch.split_page_cache.objects" => Some("page"),
        "kvm_pgtable" => Some("table"),
        "kvm.arch.pgd" if variant.arch == Arch::Riscv => Some("table"),
        "kvm.arch.pgd" => Some("table page"),
        // loongarch's list of pages to free runs through the pages: bit 0 tells entries from its pointers.
        "table page" if value & 1 == 0 && value != 0 => Some("list_head"),
        _ => None,
    }
}

fn of_mmu_leads_to(arch: Arch, field: usize) -> Option<&'static str> {
    match (arch, field) {
        (Arch::Arm64, PGT) => Some("pgt"),
        (_, PGT) => Some("pgd"),
        (_, LAST_VCPU_RAN) => Some("last_vcpu_ran"),
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
    use super::{pointee, word_name};
    use crate::memory_cache::OBJECTS;
    use crate::vm::{KVM_WORDS, SPLIT_CACHE, USERS_COUNT};

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

    #[test]
    fn a_pointer_leads_to_what_its_word_is_for_and_an_entry_of_a_table_is_none() {
        let [arm64, old, loongarch] =
            ["arm64-7.3", "arm64-6.12", "loongarch-7.3"].map(|name| name.parse().unwrap());
        let objects = SPLIT_CACHE + OBJECTS;
        assert_eq!(word_name(&arm64, "kvm", objects), Some("kvm->arch.mmu.split_page_cache.objects"));
        assert_eq!(pointee(&arm64, "kvm", objects, 9), Some("objects"));
        assert_eq!(pointee(&arm64, "kvm", USERS_COUNT, 9), None);
        assert_eq!(pointee(&arm64, "kvm.arch.nested_mmus", 0, 9), Some("nested_mmu"));
        assert_eq!(pointee(&old, "kvm.arch.nested_mmus", 0, 9), Some("pgt"), "an array of mmus");
        assert_eq!(pointee(&loongarch, "table page", 0, 0x2a), Some("list_head"));
        assert_eq!(pointee(&loongarch, "table page", 0, 0x2b), None);
    }
}
