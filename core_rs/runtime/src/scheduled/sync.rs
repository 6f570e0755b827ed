//! Locks and read-side sections whose state is the model's.
//!
//! Guarantee: inside a run, taking and dropping are actions; a guard made inside a run does nothing
//! when it is dropped muted. Outside a run nothing is tracked, but that work handed to `call_rcu`
//! waits for the sections that are open on this thread.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;

use super::driver::{Scheduling, scheduled, scheduling};
use super::model::{Model, Work};
use super::objects::Tag;
use super::{Effect, Kind, ObjectClass, Target};
use crate::{LockClass, Site};

/// What guards and waits are about, by how the model finds it.
#[derive(Clone, Copy)]
enum Place<'a> {
    Tagged(&'a Tag, &'static str, ObjectClass),
    Rcu,
}

impl Place<'_> {
    fn target(self, model: &mut Model) -> Target {
        match self {
            Self::Tagged(tag, name, class) => model.objects.of_tag(tag, name, class),
            Self::Rcu => model.rcu(),
        }
    }
}

/// Something held: a lock, or a read section.
struct Hold<'a> {
    place: Place<'a>,
    /// The action that ends it.
    end: Kind,
    site: Site,
    /// Its number among the target's sections; none when it was taken outside a run.
    section: Option<u64>,
    not_send: PhantomData<*const ()>,
}

impl<'a> Hold<'a> {
    fn take(place: Place<'a>, begin: Kind, end: Kind, site: Site) -> Self {
        let section = scheduling().map(|run| begin_section(run, place, begin, site));
        Self { place, end, site, section, not_send: PhantomData }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if let (Some(section), Some(run)) = (self.section, scheduling()) {
            end_section(run, self.place, self.end, section, self.site);
        }
    }
}

fn begin_section(run: Scheduling<'_>, place: Place<'_>, begin: Kind, site: Site) -> u64 {
    let target = |model: &mut Model| (Some(place.target(model)), Effect::None);
    run.act(begin, site, target, |model| model.threads[model.running].section)
}

fn end_section(run: Scheduling<'_>, place: Place<'_>, end: Kind, section: u64, site: Site) {
    run.act(end, site, |model| (Some(place.target(model)), Effect::Section(section)), |_| ());
}

fn assert_held(place: Place<'_>, site: Site) {
    if let Some(run) = scheduling() {
        run.act(Kind::AssertHeld, site, |model| (Some(place.target(model)), Effect::None), |_| ());
    }
}

fn synchronize(place: Place<'_>, site: Site) {
    if let Some(run) = scheduling() {
        let begins = |model: &mut Model| (Some(place.target(model)), Effect::None);
        run.act(Kind::Synchronize, site, begins, |_| ());
        let waits = |model: &mut Model| {
            let target = place.target(model);
            (Some(target), Effect::SectionsBelow(model.sections(target)))
        };
        run.act(Kind::Synchronized, site, waits, |_| ());
    }
}

/// A lock of either class.
pub struct Lock {
    name: &'static str,
    class: LockClass,
    tag: Tag,
}

/// Holds a [`Lock`].
#[must_use = "the lock is dropped with the guard"]
pub struct LockGuard<'a> {
    _hold: Hold<'a>,
}

impl Lock {
    pub(super) fn new(name: &'static str, class: LockClass) -> Self {
        Self { name, class, tag: Tag::default() }
    }

    pub(super) fn lock(&self, site: Site) -> LockGuard<'_> {
        let place = Place::Tagged(&self.tag, self.name, ObjectClass::Lock(self.class));
        LockGuard { _hold: Hold::take(place, Kind::Lock, Kind::Unlock, site) }
    }

    pub(super) fn assert_held(&self, site: Site) {
        assert_held(Place::Tagged(&self.tag, self.name, ObjectClass::Lock(self.class)), site);
    }
}

/// A reader-writer lock.
pub struct RwLock {
    name: &'static str,
    tag: Tag,
}

/// Holds a [`RwLock`] for read.
#[must_use = "the lock is dropped with the guard"]
pub struct ReadGuard<'a> {
    _hold: Hold<'a>,
}

/// Holds a [`RwLock`] for write.
#[must_use = "the lock is dropped with the guard"]
pub struct WriteGuard<'a> {
    hold: Hold<'a>,
}

impl RwLock {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, tag: Tag::default() }
    }

    pub(super) fn read(&self, site: Site) -> ReadGuard<'_> {
        ReadGuard { _hold: Hold::take(self.place(), Kind::Read, Kind::ReadUnlock, site) }
    }

    pub(super) fn write(&self, site: Site) -> WriteGuard<'_> {
        WriteGuard { hold: Hold::take(self.place(), Kind::Write, Kind::WriteUnlock, site) }
    }

    pub(super) fn assert_held_write(&self, site: Site) {
        assert_held(self.place(), site);
    }

    fn place(&self) -> Place<'_> {
        Place::Tagged(&self.tag, self.name, ObjectClass::RwLock)
    }
}

impl WriteGuard<'_> {
    pub(super) fn break_lock(&mut self, site: Site) -> bool {
        let Some(run) = scheduling() else { return false };
        if let Some(section) = self.hold.section.take() {
            end_section(run, self.hold.place, Kind::WriteUnlock, section, site);
            self.hold.section = Some(begin_section(run, self.hold.place, Kind::Write, site));
        }
        true
    }
}

/// A sleepable-RCU domain.
pub struct Srcu {
    name: &'static str,
    tag: Tag,
}

/// A read section of a [`Srcu`].
#[must_use = "the read section ends when the guard is dropped"]
pub struct SrcuGuard<'a> {
    _hold: Hold<'a>,
}

impl Srcu {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, tag: Tag::default() }
    }

    pub(super) fn read(&self, site: Site) -> SrcuGuard<'_> {
        SrcuGuard { _hold: Hold::take(self.place(), Kind::Section, Kind::SectionEnd, site) }
    }

    pub(super) fn synchronize(&self, site: Site) {
        synchronize(self.place(), site);
    }

    fn place(&self) -> Place<'_> {
        Place::Tagged(&self.tag, self.name, ObjectClass::Srcu)
    }
}

/// An RCU read section.
#[must_use = "the read section ends when the guard is dropped"]
pub struct RcuGuard {
    _outside: Option<Outside>, // dropped first
    _hold: Hold<'static>,
}

impl RcuGuard {
    pub(super) fn enter(site: Site) -> Self {
        let outside = (!scheduled()).then(Outside::enter);
        let hold = Hold::take(Place::Rcu, Kind::Section, Kind::SectionEnd, site);
        Self { _outside: outside, _hold: hold }
    }
}

pub(super) fn call_rcu(work: Work, site: Site) {
    if let Some(run) = scheduling() {
        let target = |model: &mut Model| (Some(model.rcu()), Effect::None);
        run.act(Kind::CallRcu, site, target, |model| model.hand_over(work));
    } else if SECTIONS.get() == 0 {
        work();
    } else {
        LATER.with_borrow_mut(|later| later.push(work));
    }
}

pub(super) fn synchronize_rcu(site: Site) {
    synchronize(Place::Rcu, site);
}

pub(super) fn rcu_barrier(site: Site) {
    if let Some(run) = scheduling() {
        run.act(Kind::RcuBarrier, site, |model| (Some(model.rcu()), Effect::None), |_| ());
        let waits = |model: &mut Model| (Some(model.rcu()), Effect::WorkBelow(model.handed_over()));
        run.act(Kind::RcuBarrierOver, site, waits, |_| ());
    }
}

thread_local! {
    /// RCU sections outside runs that are open on this thread.
    static SECTIONS: Cell<usize> = const { Cell::new(0) };
    /// What was handed over meanwhile.
    static LATER: RefCell<Vec<Work>> = const { RefCell::new(Vec::new()) };
}

/// An RCU section outside a run, or of a muted one.
struct Outside;

impl Outside {
    fn enter() -> Self {
        SECTIONS.set(SECTIONS.get() + 1);
        Self
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        SECTIONS.set(SECTIONS.get() - 1);
        if SECTIONS.get() == 0 {
            LATER.take().into_iter().for_each(|work| work());
        }
    }
}
