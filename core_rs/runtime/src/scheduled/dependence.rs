//! What depends on what: the one place that decides it.
//!
//! Guarantee: two actions of different threads that do not depend on each other leave the same state in
//! either order, and neither decides whether the other can be taken. An action whose [`Effect`] is not
//! known yet depends on all that it could depend on.

use super::action::{Action, Effect, Kind};

/// Whether the order of two actions of different threads matters (see the [module](super)).
#[inline]
pub fn dependent(a: &Action, b: &Action) -> bool {
    let (Some(at), Some(bt)) = (a.target, b.target) else { return false };
    if at.object != bt.object {
        return uses_page(a, b) || uses_page(b, a);
    }
    match (family(a.kind), family(b.kind)) {
        (Family::Word, Family::Word) => at.word == bt.word && (writes(a) || writes(b)),
        (Family::Word | Family::Existence, Family::Word | Family::Existence) => true,
        (Family::Lock, Family::Lock) => !(shares(a.kind) && shares(b.kind)),
        (Family::Grace, Family::Grace) => grace(a, b) || grace(b, a),
        (Family::Tlb, Family::Tlb) => translations(a, b),
        _ => false,
    }
}

/// Whether two dependent actions can ever be possible at one moment, so that their order is a choice: the
/// end of a hold and the taking that waits for it cannot.
pub fn may_be_co_enabled(a: &Action, b: &Action) -> bool {
    use Kind::{
        CallRcu, Lock, RcuBarrierOver, RcuWork, RcuWorkDone, Read, ReadUnlock, SectionEnd, Synchronized,
        Unlock, Write, WriteUnlock,
    };
    let never = |a: Kind, b: Kind| {
        matches!(
            (a, b),
            (Unlock, Lock | Unlock)
                | (WriteUnlock, Read | Write | ReadUnlock | WriteUnlock)
                | (ReadUnlock, Write)
                | (SectionEnd, Synchronized | RcuWork)
                | (CallRcu, RcuWork)
                | (RcuWorkDone, RcuBarrierOver)
        )
    };
    // What has no effect yet may turn out to wait for something else.
    let known = |action: &Action| action.effect != Effect::None || family(action.kind) != Family::Grace;
    !(known(a) && known(b) && (never(a.kind, b.kind) || never(b.kind, a.kind)))
}

/// Whether an action writes its word: all but loads, waiting, and a `CompareExchange` that failed.
#[inline]
pub fn writes(action: &Action) -> bool {
    match action.kind {
        Kind::Store(_) | Kind::FetchAdd | Kind::FetchSub => true,
        Kind::CompareExchange => !matches!(action.effect, Effect::Read(_)),
        _ => false,
    }
}

/// The object that an action is done to beside its target: the page that a translation leads to.
#[inline]
pub fn page_used(action: &Action) -> Option<usize> {
    match action.effect {
        Effect::Cached { page, .. } => page.map(|page| page.get() as usize - 1),
        _ => None,
    }
}

/// Whether `a` uses a translation to a page that `b` frees or allocates.
fn uses_page(a: &Action, b: &Action) -> bool {
    let page = page_used(a);
    page.is_some() && page == b.target.map(|target| target.object) && family(b.kind) == Family::Existence
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Word,
    Existence,
    Lock,
    Grace,
    Tlb,
    Alone,
}

fn family(kind: Kind) -> Family {
    match kind {
        Kind::Load(_)
        | Kind::Store(_)
        | Kind::CompareExchange
        | Kind::FetchAdd
        | Kind::FetchSub
        | Kind::AwaitChange => Family::Word,
        Kind::Allocate | Kind::Free => Family::Existence,
        Kind::Lock | Kind::Unlock | Kind::Read | Kind::ReadUnlock | Kind::Write | Kind::WriteUnlock => {
            Family::Lock
        }
        Kind::Section
        | Kind::SectionEnd
        | Kind::Synchronize
        | Kind::Synchronized
        | Kind::CallRcu
        | Kind::RcuWork
        | Kind::RcuWorkDone
        | Kind::RcuBarrier
        | Kind::RcuBarrierOver => Family::Grace,
        Kind::TlbInsert | Kind::TlbLookup | Kind::TlbInvalidate => Family::Tlb,
        Kind::AssertHeld | Kind::Violated | Kind::MightSleep | Kind::CondResched => Family::Alone,
    }
}

fn shares(kind: Kind) -> bool {
    matches!(kind, Kind::Read | Kind::ReadUnlock)
}

/// Half of the relation among sections, grace periods and work: the other half is its mirror image.
fn grace(a: &Action, b: &Action) -> bool {
    match (a.kind, b.kind) {
        // A section is in a snapshot, or begins after it; work is a queue.
        (Kind::Section, Kind::Synchronize | Kind::CallRcu)
        | (Kind::CallRcu, Kind::CallRcu | Kind::RcuBarrier) => true,
        (Kind::SectionEnd, Kind::Synchronized | Kind::RcuWork) => match (a.effect, b.effect) {
            (
                Effect::Section(section),
                Effect::SectionsBelow(limit) | Effect::Work { sections_below: limit, .. },
            ) => section < limit,
            _ => true,
        },
        (Kind::CallRcu, Kind::RcuWork) => match (a.effect, b.effect) {
            (Effect::Work { number: called, .. }, Effect::Work { number: run, .. }) => called == run,
            _ => true,
        },
        (Kind::RcuWorkDone, Kind::RcuBarrierOver) => match (a.effect, b.effect) {
            (Effect::Work { number, .. }, Effect::WorkBelow(limit)) => number < limit,
            _ => true,
        },
        _ => false,
    }
}

fn translations(a: &Action, b: &Action) -> bool {
    let alike = matches!(
        (a.kind, b.kind),
        (Kind::TlbLookup, Kind::TlbLookup) | (Kind::TlbInvalidate, Kind::TlbInvalidate)
    );
    !alike && {
        let ((a_ipa, a_size), (b_ipa, b_size)) = (addresses(a), addresses(b));
        // Sizes may reach to the end of the address space.
        a_ipa < b_ipa.saturating_add(b_size) && b_ipa < a_ipa.saturating_add(a_size)
    }
}

fn addresses(action: &Action) -> (u64, u64) {
    match action.effect {
        Effect::Addresses { ipa, size } => (ipa, size),
        Effect::Cached { ipa, .. } => (ipa, 1),
        _ => (0, u64::MAX),
    }
}
