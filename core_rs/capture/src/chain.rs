//! Two call chains side by side: a kernel's, and that of a model which has only some of its functions.

/// How two call chains agree on the functions that a model has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainComparison {
    /// What of the first chain is modelled, outermost first.
    pub one: Vec<String>,
    /// The same of the second.
    pub other: Vec<String>,
    /// How many calls they have in common from the outermost on: where they differ, if they do.
    pub common: usize,
}

impl ChainComparison {
    /// Whether the chains agree.
    pub fn agrees(&self) -> bool {
        self.one == self.other
    }
}

/// Compares two chains of calls, innermost first as a stack shows them, on the functions in `modelled`.
///
/// What the compiler or a printer appended to a name counts not (`.isra.0`, `+0x1/0x2`, `:swap`); and a function in a
/// row, by its parts or several steps of it, is one call.
///
/// ```
/// let kernel = ["kfree", "kvm_mmu_free_memory_cache", "kvm_uninit_stage2_mmu.isra.0", "el0_svc"];
/// let model = ["kvm_mmu_free_memory_cache:objects", "kvm_uninit_stage2_mmu"];
/// let modelled = ["kvm_mmu_free_memory_cache", "kvm_uninit_stage2_mmu"];
/// assert!(capture::compare_chains(&kernel, &model, &modelled).agrees());
/// let found = capture::compare_chains(&kernel, &model[1..], &modelled);
/// assert_eq!((found.common, found.one.len(), found.other.len()), (1, 2, 1));
/// ```
pub fn compare_chains<T: AsRef<str>, U: AsRef<str>, V: AsRef<str>>(
    one: &[T],
    other: &[U],
    modelled: &[V],
) -> ChainComparison {
    let (one, other) = (modelled_part(one, modelled), modelled_part(other, modelled));
    let common = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    ChainComparison { one, other, common }
}

fn modelled_part<T: AsRef<str>, V: AsRef<str>>(chain: &[T], modelled: &[V]) -> Vec<String> {
    let outermost_first = chain.iter().rev().map(|symbol| function_of(symbol.as_ref()));
    let is_modelled = |function: &&str| modelled.iter().any(|known| known.as_ref() == *function);
    let mut part: Vec<_> = outermost_first.filter(is_modelled).map(str::to_owned).collect();
    part.dedup();
    part
}

/// The function's own name, without what the compiler (`.isra.0`, `.part.0`) or a printer appended to it.
pub(crate) fn function_of(symbol: &str) -> &str {
    symbol.split(['.', '+', ':']).next().filter(|name| !name.is_empty()).unwrap_or(symbol)
}
