//! Lock rules, in the manner of the kernel's lockdep.
//!
//! Guarantee: over all executions that were seen, told once each: cycles in the order in which classes of locks
//! are taken (a class is a name), a lock or another of its class taken under itself, `synchronize` inside a
//! section of the same domain, an assertion that does not hold. These are broken rules: whether they become a
//! deadlock, the deadlock checker tells. Sleeping with a spinning lock held, or in an RCU section, is harm, told
//! in every execution where it happens.
//!
//! A section of SRCU or RCU is held like a lock that nobody waits for; `synchronize` is taken after all that is
//! held, like a lock that is dropped at once. So a grace period that is waited for under a lock which its readers
//! take is a cycle. The order that a program documents ([`Program::lock_order`](runtime::scheduled::Program::lock_order))
//! is known from the beginning, as on a machine where the other side has run before: who breaks it is told of it,
//! whether or not anybody else comes by. Read locks count as locks: the kernel's queue writers before later readers, which the model
//! does not.

use std::collections::HashMap;

use runtime::LockClass;
use runtime::scheduled::{Action, Effect, Execution, Kind, ObjectClass};

use super::{Checker, View};
use crate::finding::{Kind as Found, Mark, Role, Seen, Sink};

/// Learns in which order locks are taken.
#[derive(Debug)]
pub struct Lockdep {
    classes: Vec<&'static str>,
    /// By the class that is held and the class that is taken: where the one was taken and the other is.
    edges: HashMap<(usize, usize), (&'static str, &'static str)>,
    /// What each thread holds, outermost first.
    held: Vec<Vec<Hold>>,
    /// The class of each object, once it is known.
    class_of: Vec<Option<usize>>,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    object: usize,
    class: usize,
    begin: Kind,
    at: usize,
}

impl Checker for Lockdep {
    fn check(&mut self, view: &View<'_>, found: &mut dyn Sink) {
        let execution = view.execution;
        self.held.iter_mut().for_each(Vec::clear);
        self.held.resize(execution.threads.len().max(self.held.len()), Vec::new());
        self.class_of.clear();
        self.class_of.resize(execution.objects.len(), None);
        for (at, action) in execution.actions.iter().enumerate() {
            self.sleeping(execution, at, action, found);
            let Some(target) = action.target else { continue };
            let object = target.object;
            match action.kind {
                Kind::Lock | Kind::Read | Kind::Write | Kind::Synchronize => {
                    self.taken(execution, at, action, object, found);
                }
                Kind::Section => self.hold(execution, at, action, object),
                Kind::Unlock | Kind::ReadUnlock | Kind::WriteUnlock | Kind::SectionEnd => {
                    let held = &mut self.held[action.thread];
                    if let Some(last) = held.iter().rposition(|hold| hold.object == object) {
                        held.remove(last);
                    }
                }
                Kind::AssertHeld if action.effect == Effect::Held(false) => {
                    let name = execution.objects[object].name;
                    let what = || format!("{name} is asserted to be held, and is not");
                    tell(found, Found::NotHeld, name, &what, execution, at, None);
                }
                _ => {}
            }
        }
    }
}

impl Lockdep {
    /// Begins with an order, by names: the lock that is outside, and what is taken, or waited for, inside it.
    pub fn new(order: &[(&'static str, &'static str)]) -> Self {
        let mut lockdep =
            Self { classes: Vec::new(), edges: HashMap::new(), held: Vec::new(), class_of: Vec::new() };
        for (outer, inner) in order {
            let edge = (lockdep.class_named(outer), lockdep.class_named(inner));
            lockdep.edges.insert(edge, ("documented", "documented"));
        }
        lockdep
    }

    /// A lock is taken, or a grace period waited for.
    fn taken(
        &mut self,
        execution: &Execution,
        at: usize,
        action: &Action,
        object: usize,
        found: &mut dyn Sink,
    ) {
        let class = self.class(execution, object);
        let name = self.classes[class];
        for held in 0..self.held[action.thread].len() {
            let hold = self.held[action.thread][held];
            if hold.class == class {
                let (kind, how) = if action.kind == Kind::Synchronize {
                    (Found::SelfWait, "is waited for inside a section of it")
                } else if hold.object != object {
                    (Found::LockRecursion, "is taken under another of its class")
                } else if (hold.begin, action.kind) == (Kind::Read, Kind::Read) {
                    (
                        Found::LockRecursion,
                        "is taken for read again: with a writer queued between, a deadlock",
                    )
                } else {
                    (Found::LockRecursion, "is taken by the thread that holds it")
                };
                tell(found, kind, name, &|| format!("{name} {how}"), execution, at, Some(hold));
            } else {
                self.order(execution, at, hold, class, found);
            }
        }
        if action.kind != Kind::Synchronize {
            self.hold(execution, at, action, object);
        }
    }

    /// Learns that a class is taken under another; tells when that closes a cycle.
    fn order(&mut self, execution: &Execution, at: usize, hold: Hold, class: usize, found: &mut dyn Sink) {
        if self.edges.contains_key(&(hold.class, class)) {
            return;
        }
        let sites = (execution.actions[hold.at].site.name(), execution.actions[at].site.name());
        self.edges.insert((hold.class, class), sites);
        let Some(path) = self.path(class, hold.class) else { return };
        let mut what = format!("{} is taken under {}", self.classes[class], self.classes[hold.class]);
        for step in path.windows(2) {
            let (outer, inner) = self.edges[&(step[0], step[1])];
            let text =
                format!(", {} ({inner}) under {} ({outer})", self.classes[step[1]], self.classes[step[0]]);
            what.push_str(&text);
        }
        let mut names: Vec<_> = path.iter().map(|class| self.classes[*class]).collect();
        names.sort_unstable();
        tell(found, Found::LockOrder, &names.join(", "), &|| what.clone(), execution, at, Some(hold));
    }

    /// A shortest way from one class to another, along the orders that are known.
    fn path(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let mut before = vec![None; self.classes.len()];
        let mut reached = vec![from];
        let mut next = 0;
        while let Some(class) = reached.get(next).copied() {
            next += 1;
            if class == to {
                let mut path = vec![to];
                while let Some(previous) = path.last().and_then(|last: &usize| before[*last]) {
                    path.push(previous);
                }
                path.reverse();
                return Some(path);
            }
            for (inner, before) in before.iter_mut().enumerate() {
                if self.edges.contains_key(&(class, inner)) && before.is_none() && inner != from {
                    *before = Some(class);
                    reached.push(inner);
                }
            }
        }
        None
    }

    fn sleeping(&self, execution: &Execution, at: usize, action: &Action, found: &mut dyn Sink) {
        if !sleeps(execution, action) {
            return;
        }
        let atomic = |hold: &&Hold| match execution.objects[hold.object].class {
            ObjectClass::Lock(class) => class == LockClass::Spin,
            ObjectClass::RwLock | ObjectClass::Rcu => true,
            _ => false,
        };
        if let Some(hold) = self.held[action.thread].iter().rev().find(atomic) {
            let name = self.classes[hold.class];
            let what = || format!("{} may sleep, and {name} is held", action.site.name());
            tell(found, Found::SleepInAtomic, name, &what, execution, at, Some(*hold));
        }
    }

    fn hold(&mut self, execution: &Execution, at: usize, action: &Action, object: usize) {
        let class = self.class(execution, object);
        self.held[action.thread].push(Hold { object, class, begin: action.kind, at });
    }

    fn class(&mut self, execution: &Execution, object: usize) -> usize {
        if let Some(class) = self.class_of[object] {
            return class;
        }
        let class = self.class_named(execution.objects[object].name);
        self.class_of[object] = Some(class);
        class
    }

    fn class_named(&mut self, name: &'static str) -> usize {
        self.classes.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.classes.push(name);
            self.classes.len() - 1
        })
    }
}

/// Whether a thread may sleep at an action.
fn sleeps(execution: &Execution, action: &Action) -> bool {
    match action.kind {
        Kind::MightSleep | Kind::CondResched | Kind::Synchronize | Kind::RcuBarrier => true,
        Kind::Lock => action.target.is_some_and(|target| {
            execution.objects[target.object].class == ObjectClass::Lock(LockClass::Mutex)
        }),
        _ => false,
    }
}

fn tell(
    found: &mut dyn Sink,
    kind: Found,
    object: &str,
    what: &dyn Fn() -> String,
    execution: &Execution,
    at: usize,
    hold: Option<Hold>,
) {
    let used = Mark::on(Role::Used, execution, at);
    match hold {
        Some(hold) => {
            let steps = [used, Mark::on(Role::Took, execution, hold.at)];
            found.tell(Seen { kind, object, at, steps: &steps }, what);
        }
        None => found.tell(Seen { kind, object, at, steps: &[used] }, what),
    }
}
