//! Stale translations: one that is used after the page behind it was freed.
//!
//! Guarantee: every look-up that leads to a guest page which has been freed is found, the first of each thread
//! for each page. Table pages are looked after by the memory checker: a walk reads their words.

use runtime::scheduled::{Effect, Kind, page_used};

use super::{Checker, View};
use crate::finding::{Kind as Found, Mark, Role, Seen, Sink};

/// Knows which guest pages are free.
#[derive(Debug, Default)]
pub struct Tlb {
    /// By object: the action that freed it, and one more, and the threads whose use of it was told.
    freed: Vec<(usize, u64)>,
}

impl Checker for Tlb {
    fn check(&mut self, view: &View<'_>, found: &mut dyn Sink) {
        let execution = view.execution;
        if !execution.actions.iter().any(|action| action.kind == Kind::TlbLookup) {
            return;
        }
        self.freed.clear();
        self.freed.resize(execution.objects.len(), (0, 0));
        for (at, action) in execution.actions.iter().enumerate() {
            if let (Kind::Free, Some(target)) = (action.kind, action.target) {
                self.freed[target.object].0 = at + 1;
            }
            let (Effect::Cached { ipa, .. }, Some(page)) = (action.effect, page_used(action)) else {
                continue;
            };
            let (freed, told) = &mut self.freed[page];
            let Some(freed) = freed.checked_sub(1).filter(|_| *told & (1 << action.thread) == 0) else {
                continue;
            };
            *told |= 1 << action.thread;
            let object = execution.objects[page];
            let object = format!("{} {:#x}", object.name, object.index);
            let steps = [Mark::on(Role::Used, execution, at), Mark::on(Role::Freed, execution, freed)];
            found.tell(Seen { kind: Found::StaleTranslation, object: &object, at, steps: &steps }, &|| {
                format!("a translation of {ipa:#x} is used after its page was freed")
            });
        }
    }
}
