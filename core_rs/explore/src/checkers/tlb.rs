//! Stale translations: one that is used after the page behind it was freed.
//!
//! Guest pages are objects named [`GUEST_PAGE`], whose index is the physical address without its page offset.
//! Guarantee: every look-up that answers an address in a page that has been freed and not been allocated again
//! is found. Table pages are looked after by the memory checker: a walk reads their words.

use runtime::scheduled::{Effect, Kind};

use super::{Checker, View};
use crate::finding::{Kind as Found, Mark, Observed, Role};

/// The name of the guest's own pages.
pub const GUEST_PAGE: &str = "guest page";

/// Knows which guest pages are free.
#[derive(Debug)]
pub struct Tlb {
    page_shift: u32,
    /// Pages that are free: number, and the action that freed them.
    free: Vec<(u64, usize)>,
}

impl Tlb {
    /// Pages of `1 << page_shift` bytes.
    pub fn new(page_shift: u32) -> Self {
        Self { page_shift, free: Vec::new() }
    }
}

impl Checker for Tlb {
    fn check(&mut self, view: &View<'_>, found: &mut Vec<Observed>) {
        let execution = view.execution;
        self.free.clear();
        for (at, action) in execution.actions.iter().enumerate() {
            match (action.kind, action.effect) {
                (Kind::Allocate | Kind::Free, _) => {
                    let Some(object) = action.target.map(|target| execution.objects[target.object]) else {
                        continue;
                    };
                    if object.name == GUEST_PAGE {
                        self.free.retain(|(page, _)| *page != object.index);
                        if action.kind == Kind::Free {
                            self.free.push((object.index, at));
                        }
                    }
                }
                (Kind::TlbLookup { ipa }, Effect::Cached(pa)) => {
                    let page = pa >> self.page_shift;
                    if let Some((_, freed)) = self.free.iter().find(|(free, _)| *free == page) {
                        found.push(Observed {
                            kind: Found::StaleTranslation,
                            object: format!("{GUEST_PAGE} {page:#x}"),
                            what: format!(
                                "the translation of {ipa:#x} to {pa:#x} is used after its page was freed"
                            ),
                            at,
                            steps: vec![
                                Mark::on(Role::Used, execution, at),
                                Mark::on(Role::Freed, execution, *freed),
                            ],
                        });
                    }
                }
                _ => {}
            }
        }
    }
}
