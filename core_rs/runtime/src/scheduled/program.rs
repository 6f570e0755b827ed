//! What can be executed again and again.

use super::{NamedThread, ObjectInfo};

/// Threads over a set-up, made afresh for each execution.
///
/// Guarantee asked of an implementation: two instances differ in nothing that an action can tell. The order in
/// which things were allocated, or their addresses, must not matter.
pub trait Program: Sync {
    /// What it is, with all that distinguishes it from others.
    fn name(&self) -> String;

    /// Makes the set-up, outside a run, and the threads.
    fn start(&self) -> Instance;

    /// Whether an object that was allocated may be there when all is over: it is no leak then. Programs that
    /// know better at the end of each execution answer `true`, and tell of leaks as [`Violation`]s.
    fn lives_on(&self, _object: &ObjectInfo) -> bool {
        false
    }

    /// The order of locks that the program's documentation promises, by names: the lock that is outside, and what is
    /// taken, or waited for, inside it.
    fn lock_order(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// What a word of an object is called, such as `kvm->users_count`. Without a name it is told by the object's
    /// and its number there.
    fn word_name(&self, _object: &ObjectInfo, _word: usize) -> Option<&'static str> {
        None
    }

    /// What a value that is not 0 leads to, if a word of an object holds pointers: `objects` for what
    /// `kvm->arch.mmu.split_page_cache.objects` holds.
    fn pointee(&self, _object: &ObjectInfo, _word: usize, _value: u64) -> Option<&'static str> {
        None
    }
}

/// A program that is ready to run.
pub struct Instance {
    /// The threads.
    pub threads: Vec<NamedThread>,
    /// Looks at the end of a finished execution, outside the run, and says what is wrong with it.
    pub end: Box<dyn FnOnce() -> Vec<Violation>>,
}

/// A rule about the end of an execution that is broken, which is harm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Violation {
    /// The rule, by a short name such as `leak`.
    pub rule: &'static str,
    /// What it is broken for, by its name.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
}
