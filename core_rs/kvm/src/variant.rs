//! Kernel variants as data: what each kernel's teardown does, without any strategy.
//!
//! The rows are those of the design's table "what flush does, by kernel", and the states of arm64 before and
//! after the fixes of the regression corpus. What a row means is said where the code asks for it.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// The architectures whose flush is modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// `mmu_lock` is a rwlock; flush takes the table out under it.
    Arm64,
    /// `mmu_lock` is a rwlock; flush unmaps and takes the root out under it.
    Riscv,
    /// `mmu_lock` is a spinlock; flush does not take it, and lists the pages it frees.
    Loongarch,
    /// `mmu_lock` is a spinlock; flush does not take it, and frees pages as it walks.
    Mips,
}

/// How a table that was taken out is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destroy {
    /// In one walk.
    Whole,
    /// Range by range, with `cond_resched` between.
    Ranges,
    /// Range by range as first tried in Sep 2025: on the way up each range frees the child table whatever it
    /// still holds, and leaves the parent's entry in place.
    StaleRanges,
}

/// Where the mmus of nested virtualization are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nested {
    /// There are none.
    Absent,
    /// An array of mmus, reallocated as it grows; flush frees it.
    Array,
    /// An array of pointers, allocated with the VM; `kvm_destroy_nested` frees it.
    Pointers,
}

/// A kernel's teardown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // each is a property of its kernel
pub struct Variant {
    /// Its name, such as `arm64-7.3`.
    pub name: &'static str,
    /// Which architecture's functions it has.
    pub arch: Arch,
    /// How a table is destroyed.
    pub destroy: Destroy,
    /// Where nested mmus are.
    pub nested: Nested,
    /// Whether there is a cache of pages for eager splits.
    pub split_cache: bool,
    /// Whether `kvm_arch_destroy_vm` calls `kvm_uninit_stage2_mmu` again.
    pub uninit_again: bool,
    /// Whether flush returns early when there are no nested mmus (Feb 2026).
    pub returns_early: bool,
    /// Whether `guest_memfd` unmaps outside the notifier.
    pub guest_memfd: bool,
    /// Whether a fault heeds `mmu_invalidate_seq`. Every kernel does; one that did not is a control for checkers.
    pub retries: bool,
}

const ARM64_7_3: Variant = Variant {
    name: "arm64-7.3",
    arch: Arch::Arm64,
    destroy: Destroy::Ranges,
    nested: Nested::Pointers,
    split_cache: true,
    uninit_again: true,
    returns_early: false,
    guest_memfd: true,
    retries: true,
};

impl Variant {
    /// The kernels of the table: rows of the verdict matrix.
    pub const KERNELS: [Self; 5] = [
        Self {
            name: "arm64-6.12",
            destroy: Destroy::Whole,
            nested: Nested::Array,
            uninit_again: false,
            guest_memfd: false,
            ..ARM64_7_3
        },
        ARM64_7_3,
        Self {
            name: "riscv-7.3",
            arch: Arch::Riscv,
            destroy: Destroy::Whole,
            nested: Nested::Absent,
            uninit_again: false,
            guest_memfd: false,
            ..ARM64_7_3
        },
        Self { name: "loongarch-7.3", arch: Arch::Loongarch, ..PLAIN_TABLE },
        Self { name: "mips-7.3", arch: Arch::Mips, ..PLAIN_TABLE },
    ];

    /// States of arm64 before and after fixes, where no kernel of the table stands for them.
    pub const CORPUS: [Self; 3] = [
        Self { name: "arm64-whole-destroy", destroy: Destroy::Whole, ..ARM64_7_3 },
        Self { name: "arm64-stale-ranges", destroy: Destroy::StaleRanges, ..ARM64_7_3 },
        Self { name: "arm64-early-return", returns_early: true, ..ARM64_7_3 },
    ];

    /// All variants that have a name.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::KERNELS.into_iter().chain(Self::CORPUS)
    }

    /// The names of all, for messages.
    pub(crate) fn names() -> String {
        Self::all().map(|variant| variant.name).collect::<Vec<_>>().join(", ")
    }

    /// What flush does under it, in a line.
    pub fn about(&self) -> String {
        let destroy = match (self.arch, self.destroy) {
            (Arch::Loongarch | Arch::Mips, _) => {
                "flush clears the table without mmu_lock; destroy_vm frees the pgd"
            }
            (Arch::Riscv, _) => "flush takes the table out and frees it, the split cache after the unlock",
            (Arch::Arm64, Destroy::Whole) => {
                "flush takes the table out and destroys it in one piece outside mmu_lock"
            }
            (Arch::Arm64, Destroy::Ranges) => {
                "flush takes the table out and destroys it in ranges outside mmu_lock"
            }
            (Arch::Arm64, Destroy::StaleRanges) => {
                "each range frees the child table, whatever it still holds, and leaves the entry (as tried in Sep 2025)"
            }
        };
        let nested = match self.nested {
            Nested::Absent => "",
            Nested::Array => "; it frees the array of nested mmus too",
            Nested::Pointers => "; destroy_vm frees the nested mmus",
        };
        let early = if self.returns_early { "; it returns early without nested mmus (Feb 2026)" } else { "" };
        format!("{destroy}{nested}{early}")
    }

    /// Whether `mmu_lock` is a rwlock.
    pub(crate) const fn has_rwlock(&self) -> bool {
        matches!(self.arch, Arch::Arm64 | Arch::Riscv)
    }
}

/// What loongarch and mips have in common.
const PLAIN_TABLE: Variant = Variant {
    destroy: Destroy::Whole,
    nested: Nested::Absent,
    split_cache: false,
    uninit_again: false,
    guest_memfd: false,
    ..ARM64_7_3
};

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for Variant {
    type Err = Error;

    /// Reads a name.
    ///
    /// ```
    /// use kvm::Variant;
    /// let variant: Variant = "arm64-7.3".parse()?;
    /// assert!(variant.uninit_again);
    /// assert!("arm64-7.4".parse::<Variant>().unwrap_err().to_string().contains("riscv-7.3"));
    /// # Ok::<(), kvm::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::all()
            .find(|variant| variant.name == text)
            .ok_or_else(|| Error::Variant { value: text.to_owned(), expected: Self::names() })
    }
}
