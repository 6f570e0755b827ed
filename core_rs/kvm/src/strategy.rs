//! Teardown strategies as data: what flush holds, and what it frees inside, outside, or leaves to destroy.
//!
//! The named ones are those of the discussion in May 2026; one's own is made of the same parts, in text
//! `hold=arch helpers=assert table=inside nested=claim cache=defer destroy=ranges breaks=yes`. What is not said is
//! as each kernel has it.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, name_of, one_of, pair};
use crate::variant::{Arch, Destroy, Nested, Variant};

/// Which function holds `mmu_lock` for write around all it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// None.
    Nobody,
    /// `kvm_arch_flush_shadow_all`.
    Arch,
    /// `kvm_flush_shadow_all`, around the architecture's function.
    Generic,
}

/// What a helper does about `mmu_lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Helpers {
    /// As the kernel has it: those that take it take it.
    Take,
    /// They assert that the caller holds it.
    Assert,
}

/// Where flush frees something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Where the kernel frees it, under whatever is held there.
    Inside,
    /// Taken out under `mmu_lock`, freed after the unlock.
    Claim,
    /// Not at all: `kvm_arch_destroy_vm` does, after the notifier is gone.
    Defer,
    /// Where the kernel frees it, under `slots_lock`.
    SlotsLock,
}

/// A teardown strategy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Strategy {
    /// Its name; a composition's is its text.
    pub name: String,
    /// What holds the lock around everything.
    pub hold: Hold,
    /// What helpers do about the lock.
    pub helpers: Helpers,
    /// The table.
    pub table: Part,
    /// The array of nested mmus, where flush frees it.
    pub nested: Part,
    /// The cache of pages for eager splits.
    pub cache: Part,
    /// How tables are destroyed; none: as the variant does.
    pub destroy: Option<Destroy>,
    /// Whether flush, where it holds the lock while it destroys in ranges, breaks the lock between them, instead of
    /// `cond_resched`.
    pub breaks: bool,
}

const HOLDS: [(&str, Hold); 3] = [("nobody", Hold::Nobody), ("arch", Hold::Arch), ("generic", Hold::Generic)];
const HELPERS: [(&str, Helpers); 2] = [("take", Helpers::Take), ("assert", Helpers::Assert)];
const TABLE: [(&str, Part); 2] = [("inside", Part::Inside), ("claim", Part::Claim)];
const NESTED: [(&str, Part); 3] = [("inside", Part::Inside), ("claim", Part::Claim), ("defer", Part::Defer)];
const CACHE: [(&str, Part); 4] = [
    ("inside", Part::Inside),
    ("claim", Part::Claim),
    ("defer", Part::Defer),
    ("slots-lock", Part::SlotsLock),
];
const DESTROYS: [(&str, Destroy); 2] = [("whole", Destroy::Whole), ("ranges", Destroy::Ranges)];
const BREAKS: [(&str, bool); 2] = [("no", false), ("yes", true)];
const ABOUT: [(&str, &str); 8] = [
    ("none", "as each kernel has it"),
    (
        "lock-flush",
        "flush holds mmu_lock for write around everything; the helpers assert that it is held (v1)",
    ),
    ("lock-flush-naive", "flush holds mmu_lock, and a helper takes it again"),
    ("lock-flush-free-outside", "everything is taken out under mmu_lock, and freed after the unlock"),
    ("lock-generic", "kvm_flush_shadow_all holds mmu_lock, the architecture's function runs under it"),
    (
        "claim-under-lock",
        "only pointers are swapped to NULL under mmu_lock; what was claimed is freed after it",
    ),
    ("defer-to-destroy", "flush frees only the table; destroy_vm frees arrays and cache"),
    ("slots-lock", "the split cache is freed under slots_lock, its documented owner"),
];
const EXAMPLE: &str = "hold=arch helpers=assert cache=claim";

impl Strategy {
    /// The named strategies: columns of the verdict matrix.
    pub fn named() -> Vec<Self> {
        let none = Self::none;
        let named = |name: &str, strategy: Self| Self { name: name.to_owned(), ..strategy };
        let claim = Self { table: Part::Claim, nested: Part::Claim, cache: Part::Claim, ..none() };
        vec![
            none(),
            named("lock-flush", Self { hold: Hold::Arch, helpers: Helpers::Assert, ..none() }),
            named("lock-flush-naive", Self { hold: Hold::Arch, ..none() }),
            named("lock-flush-free-outside", Self { hold: Hold::Arch, ..claim.clone() }),
            named("lock-generic", Self { hold: Hold::Generic, ..none() }),
            named("claim-under-lock", claim),
            named("defer-to-destroy", Self { nested: Part::Defer, cache: Part::Defer, ..none() }),
            named("slots-lock", Self { cache: Part::SlotsLock, ..none() }),
        ]
    }

    /// What a named strategy does, in a line, and of one's own its parts.
    pub fn about(&self) -> String {
        let known = ABOUT.iter().find(|(name, _)| *name == self.name);
        known.map_or_else(|| self.parts(), |(_, about)| (*about).to_owned())
    }

    /// The parts that it consists of; as a text that reads the same strategy.
    pub fn text(&self) -> String {
        self.parts()
    }

    /// As each kernel has it.
    pub fn none() -> Self {
        Self {
            name: String::from("none"),
            hold: Hold::Nobody,
            helpers: Helpers::Take,
            table: Part::Inside,
            nested: Part::Inside,
            cache: Part::Inside,
            destroy: None,
            breaks: false,
        }
    }

    /// Whether the strategy means anything under a variant; if not, why: the cell is `n/a`.
    pub fn applies(&self, variant: &Variant) -> Result<(), String> {
        let not = |reason: &str| Err(format!("{} {reason}", variant.name));
        let plain = matches!(variant.arch, Arch::Loongarch | Arch::Mips);
        if plain && self.hold == Hold::Arch && self.helpers == Helpers::Take && self.table == Part::Inside {
            return not("has no helper that takes mmu_lock itself: the naive form is lock-flush");
        }
        if plain && self.hold == Hold::Nobody && self.table == Part::Claim {
            return not("leaves the root to destroy_vm: flush has no pointer that it could take out");
        }
        let moves_cache = self.cache != Part::Inside && self.table == Part::Inside;
        let moves_nested = self.nested != Part::Inside && self.table == Part::Inside;
        let (cache, nested) = (variant.split_cache, variant.nested == Nested::Array);
        match (moves_cache && !cache, moves_nested && !nested) {
            (true, true) => not("has neither a split cache nor an array of nested mmus that flush frees"),
            (true, false) if !moves_nested => not("has no split cache"),
            (false, true) if !moves_cache => not("has no array of nested mmus that flush frees"),
            _ => Ok(()),
        }
    }

    /// Why a flush under a variant takes `mmu_lock`, which is not recursive, while it holds it, if it does: then it
    /// waits for itself for ever.
    pub fn takes_mmu_lock_twice(&self, variant: &Variant) -> Option<&'static str> {
        if matches!(variant.arch, Arch::Loongarch | Arch::Mips) {
            return None;
        }
        let (arch, generic) = (self.hold == Hold::Arch, self.hold == Hold::Generic);
        if self.helpers == Helpers::Take && (generic || arch && self.table == Part::Inside) {
            return Some("flush holds mmu_lock and calls a helper that takes it");
        }
        let claims = |part, there: bool| generic && part == Part::Claim && there;
        if claims(self.cache, variant.split_cache) || claims(self.nested, variant.nested == Nested::Array) {
            return Some("kvm_flush_shadow_all holds mmu_lock and what is claimed under it takes it");
        }
        None
    }

    /// How tables are destroyed under a variant.
    pub(crate) fn destroy(&self, variant: &Variant) -> Destroy {
        self.destroy.unwrap_or(variant.destroy)
    }

    fn parts(&self) -> String {
        let mut text = format!(
            "hold={} helpers={} table={} nested={} cache={}",
            name_of(&HOLDS, self.hold),
            name_of(&HELPERS, self.helpers),
            name_of(&TABLE, self.table),
            name_of(&NESTED, self.nested),
            name_of(&CACHE, self.cache)
        );
        if let Some(destroy) = self.destroy {
            text += " destroy=";
            text += name_of(&DESTROYS, destroy);
        }
        if self.breaks {
            text += " breaks=yes";
        }
        text
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FromStr for Strategy {
    type Err = Error;

    /// Reads a name, or parts.
    ///
    /// ```
    /// use kvm::{Part, Strategy};
    /// assert_eq!("claim-under-lock".parse::<Strategy>()?.cache, Part::Claim);
    /// let own: Strategy = "hold=arch helpers=assert cache=defer".parse()?;
    /// assert_eq!(own, own.to_string().parse()?);
    /// assert!("cache=later".parse::<Strategy>().unwrap_err().to_string().contains("slots-lock"));
    /// # Ok::<(), kvm::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, Error> {
        let named = Self::named();
        if let Some(strategy) = named.iter().find(|strategy| strategy.name == text) {
            return Ok(strategy.clone());
        }
        if !text.contains('=') {
            return Err(Error::Strategy {
                value: text.to_owned(),
                expected: named.iter().map(|strategy| &*strategy.name).collect::<Vec<_>>().join(", "),
                example: EXAMPLE,
            });
        }
        let mut own = Self::none();
        for word in text.split_whitespace() {
            let (key, value) = pair(word, "part of a strategy")?;
            match key {
                "hold" => own.hold = one_of("hold", &HOLDS, value)?,
                "helpers" => own.helpers = one_of("helpers", &HELPERS, value)?,
                "table" => own.table = one_of("table", &TABLE, value)?,
                "nested" => own.nested = one_of("nested", &NESTED, value)?,
                "cache" => own.cache = one_of("cache", &CACHE, value)?,
                "breaks" => own.breaks = one_of("breaks", &BREAKS, value)?,
                "destroy" => own.destroy = Some(one_of("destroy", &DESTROYS, value)?),
                _ => {
                    return Err(Error::Word {
                        what: "part of a strategy",
                        value: key.to_owned(),
                        expected: String::from("hold, helpers, table, nested, cache, destroy, breaks"),
                    });
                }
            }
        }
        own.name = own.parts();
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use super::Strategy;
    use crate::variant::Variant;

    #[test]
    fn every_named_strategy_says_what_it_does_and_reads_again_from_its_parts() {
        for strategy in Strategy::named() {
            assert_ne!(strategy.about(), strategy.text());
            let again: Strategy = strategy.text().parse().unwrap();
            assert_eq!(Strategy { name: strategy.name.clone(), ..again }, strategy);
        }
    }

    #[test]
    fn a_strategy_that_moves_nothing_a_kernel_has_does_not_apply() {
        let applies = |strategy: &str, variant: &str| {
            let variant: Variant = variant.parse().unwrap();
            strategy.parse::<Strategy>().unwrap().applies(&variant)
        };
        assert_eq!(applies("slots-lock", "arm64-7.3"), Ok(()));
        assert_eq!(applies("defer-to-destroy", "arm64-7.3"), Ok(()));
        assert!(applies("slots-lock", "mips-7.3").unwrap_err().contains("no split cache"));
        assert!(applies("defer-to-destroy", "loongarch-7.3").unwrap_err().contains("neither"));
        assert!(applies("claim-under-lock", "mips-7.3").unwrap_err().contains("no pointer"));
        assert_eq!(applies("lock-generic", "mips-7.3"), Ok(()));
    }
}
