//! Whose turn it is: a run as its threads reach it, and who drives it to its end.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use super::coroutine::{Abandoned, Running, message};
use super::model::{Model, Thread};
use super::objects::Objects;
use super::{Action, Effect, Execution, Kind, NamedThread, Outcome, Policy, Target};
use crate::{Site, site};

/// A run as its threads reach it; kept from one to the next for what it has room for.
struct Run {
    model: RefCell<Model>,
    /// Whether actions are to be scheduled: threads are running, and are not muted.
    scheduling: Cell<bool>,
    /// Who decides; only while a run is under way.
    policy: Cell<Option<NonNull<dyn Policy>>>,
    /// Whose turn it is; nobody's when the run is to end.
    turn: Cell<Option<usize>>,
    ended: Cell<Option<Ended>>,
    /// Whether the policy is deciding: a panic then is its own.
    deciding: Cell<bool>,
    /// By thread.
    coroutines: RefCell<Vec<Rc<Running>>>,
}

/// How a run ended.
enum Ended {
    So(Outcome),
    /// With a panic that is the caller's, not the threads'.
    Raised(Box<dyn Any + Send>),
}

thread_local! {
    /// The run that is under way on this thread; null when there is none.
    static RUN: Cell<*const Run> = const { Cell::new(ptr::null()) };
    /// What the set-up made, until a run begins.
    static SET_UP: RefCell<Objects> = RefCell::new(Objects::default());
    static ROOM: Rc<Run> = Rc::new(Run::new());
}

/// The run under way on this thread.
#[allow(unsafe_code)]
#[inline]
fn current<'a>() -> Option<&'a Run> {
    // SAFETY: the pointer is to the `Run` that a `Driver` on this thread owns a share of, and is only
    // ever borrowed as shared; the driver resets the pointer before it gives its share away. What is made of the reference ends
    // sooner: it is used within one call by code of this thread, which runs inside the driver's life.
    unsafe { RUN.get().as_ref() }
}

/// The run that is under way, if the caller is a thread of it whose actions are to be scheduled.
#[inline]
pub(super) fn scheduling<'a>() -> Option<Scheduling<'a>> {
    current().filter(|run| run.scheduling.get()).map(Scheduling)
}

/// Whether the caller is a thread of a run, and its actions are to be scheduled.
#[inline]
pub(super) fn scheduled() -> bool {
    scheduling().is_some()
}

/// Whether a run is under way on this thread, muted or not.
pub(super) fn in_a_run() -> bool {
    !RUN.get().is_null()
}

/// The thread that runs, and how many actions have been taken; none outside a run, and while one is muted.
pub(super) fn position() -> Option<(usize, usize)> {
    scheduling().map(|run| run.model(|model| (model.running, model.taken.len())))
}

/// The registry of what exists before a run.
pub(super) fn set_up<T>(f: impl FnOnce(&mut Objects) -> T) -> T {
    SET_UP.with_borrow_mut(f)
}

/// A run, as a thread of it acts in it.
#[derive(Clone, Copy)]
pub(super) struct Scheduling<'a>(&'a Run);

impl Scheduling<'_> {
    /// The state of the run.
    #[inline(always)]
    pub(super) fn model<T>(self, f: impl FnOnce(&mut Model) -> T) -> T {
        f(&mut self.0.model.borrow_mut())
    }

    /// Offers an action of the running thread to the scheduler, and carries it out when it has been taken.
    ///
    /// `prepare` says what the action's target is, and what is known of its effect, at this moment; `carry_out` does
    /// the rest when its turn has come. A thread that is unwinding takes its actions at once: other threads must not
    /// run inside its panic.
    #[inline(always)]
    pub(super) fn act<T>(
        self,
        kind: Kind,
        site: Site,
        prepare: impl FnOnce(&mut Model) -> (Option<Target>, Effect),
        carry_out: impl FnOnce(&mut Model) -> T,
    ) -> T {
        let thread = {
            let model = &mut *self.0.model.borrow_mut();
            let (target, effect) = prepare(model);
            let thread = model.running;
            let action = Action { thread, kind, target, site, effect };
            if model.goes_on_as_known(&action) || std::thread::panicking() {
                model.take_own(action, false);
                return carry_out(model);
            }
            model.offer(action);
            // The decision is made here, and not where coroutines are resumed: when the same thread goes on,
            // nothing need be switched.
            match self.0.decide(model) {
                Next::Take(choice) if model.is_of_running(choice) => {
                    model.take_own(action, true);
                    return carry_out(model);
                }
                next => self.0.turn_to(model, next),
            }
            thread
        };
        self.0.give_way(Some(thread));
        carry_out(&mut self.0.model.borrow_mut())
    }
}

/// What comes next.
#[derive(Clone, Copy)]
enum Next {
    /// The next action of a thread that can go on, by its number among those.
    Take(usize),
    /// A thread comes to its first action.
    Start(usize),
    /// Nothing.
    End,
}

impl Run {
    fn new() -> Self {
        Self {
            model: RefCell::new(Model::default()),
            scheduling: Cell::new(false),
            policy: Cell::new(None),
            turn: Cell::new(None),
            ended: Cell::new(None),
            deciding: Cell::new(false),
            coroutines: RefCell::new(Vec::new()),
        }
    }

    /// Decides what comes next.
    #[allow(unsafe_code)]
    #[inline]
    fn decide(&self, model: &mut Model) -> Next {
        if model.follows() {
            return self.follow(model);
        }
        if model.changed
            && let Some(next) = self.attend(model)
        {
            return next;
        }
        let (enabled, taken) = model.enabled();
        let Some(mut policy) = self.policy.get().filter(|_| !enabled.is_empty()) else {
            return self.end(model.settled());
        };
        self.deciding.set(true);
        // SAFETY: the pointer is made from the exclusive borrow that `run_into` holds while the run is under way, and
        // is used here only, which a policy cannot reach: a run inside a run panics, and actions need the model,
        // which is borrowed now.
        let choice = unsafe { policy.as_mut() }.choose(enabled, taken);
        self.deciding.set(false);
        let Some(choice) = choice else { return self.end(Outcome::Abandoned) };
        assert!(choice < model.enabled().0.len(), "the policy chose number {choice}, and there are fewer");
        Next::Take(choice)
    }

    /// Sees to threads that are to be started, and finds out who can go on.
    fn attend(&self, model: &mut Model) -> Option<Next> {
        if model.has_work() && model.worker().is_none() {
            model.all_started(); // who waits now waits before the worker does
            let thread = model.threads.len();
            model.threads.push(Thread { name: String::from("rcu"), runs_work: true, ..Thread::default() });
            self.prepare(thread, Box::new(run_work));
        }
        if let Some(thread) = model.start_next() {
            return Some(Next::Start(thread));
        }
        model.all_started();
        // What is known was not looked for while threads were to be started.
        model.follows().then(|| self.follow(model))
    }

    /// Takes what is known to come next.
    fn follow(&self, model: &Model) -> Next {
        model.known_next().map_or_else(|| self.end(Outcome::Abandoned), Next::Take)
    }

    #[inline(never)]
    fn end(&self, outcome: Outcome) -> Next {
        self.ended.set(Some(Ended::So(outcome)));
        Next::End
    }

    /// Makes it the turn of whose it is.
    #[inline]
    fn turn_to(&self, model: &mut Model, next: Next) {
        self.turn.set(match next {
            Next::Take(choice) => Some(model.take(choice)),
            Next::Start(thread) => Some(thread),
            Next::End => None,
        });
    }

    /// Lets others go on until the turn of `me` comes: a thread's, or nobody's.
    ///
    /// A coroutine resumes the next by itself and is below it then, until that gives way again: so there is one
    /// switch from one thread to another most often, not two by way of the driver. Whose turn it is and who is
    /// below others gets it when those have given way one after the other.
    #[inline(never)]
    fn give_way(&self, me: Option<usize>) {
        loop {
            let turn = self.turn.get();
            if turn == me {
                return;
            }
            let next = turn.map(|thread| self.coroutine(thread)).filter(|next| !next.below.get());
            match (next, me) {
                (Some(next), _) => {
                    if !next.resume() {
                        self.over(next);
                    }
                }
                (None, Some(me)) => {
                    self.suspend(me);
                    if !self.scheduling.get() {
                        resume_unwind(Box::new(Abandoned));
                    }
                }
                (None, None) => unreachable!("nobody is below the driver"),
            }
        }
    }

    /// The running thread has ended; or it has panicked, or the policy in its place.
    fn over(&self, coroutine: &Running) {
        let model = &mut *self.model.borrow_mut();
        model.ended();
        let next = match coroutine.panic.take() {
            None => self.decide(model),
            Some(panic) if self.deciding.get() => {
                self.ended.set(Some(Ended::Raised(panic)));
                Next::End
            }
            Some(panic) => {
                self.end(Outcome::Panicked { thread: model.running, message: message(panic.as_ref()) })
            }
        };
        self.turn_to(model, next);
    }

    /// Gives control back to who resumed this thread's coroutine, until that is resumed again.
    #[allow(unsafe_code)]
    #[inline]
    fn suspend(&self, thread: usize) {
        // SAFETY: the coroutine sets the pointer before it runs the thread, which calls this; the yielder is on the
        // stack of the coroutine that runs this, which cannot go before this function returns or unwinds.
        let yielder = unsafe { &*self.coroutine(thread).yielder.get() };
        yielder.suspend(true);
    }

    /// The coroutine of a thread.
    #[allow(unsafe_code)]
    #[inline]
    fn coroutine(&self, thread: usize) -> &Running {
        let running = Rc::as_ptr(&self.coroutines.borrow()[thread]);
        // SAFETY: what is in the list is dropped with it, which this is borrowed from: it only ever grows.
        unsafe { &*running }
    }

    /// A coroutine that does `work` when it is resumed.
    fn prepare(&self, thread: usize, work: Box<dyn FnOnce()>) {
        let mut coroutines = self.coroutines.borrow_mut();
        if coroutines.len() == thread {
            coroutines.push(Running::new());
        }
        coroutines[thread].work.set(Some(work));
    }
}

/// Carries out the running thread's actions inside `look` at once, unrecorded.
pub(super) fn muted<T>(look: impl FnOnce() -> T) -> T {
    /// Ends the silence, also when `look` panics.
    struct Restore<'a>(&'a Run, bool);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            self.0.scheduling.set(self.1);
        }
    }
    let _restore = current().map(|run| Restore(run, run.scheduling.replace(false)));
    look()
}

/// The coroutines of a run; dropping it ends the run.
pub(super) struct Driver {
    run: Rc<Run>,
}

impl Driver {
    #[allow(unsafe_code)]
    fn enter(policy: &mut dyn Policy) -> Self {
        assert!(!in_a_run(), "scheduled::run is called inside a run: one thread's run is one at a time");
        let run = ROOM.with(Rc::clone);
        let policy = NonNull::from(policy);
        // SAFETY: only the lifetime changes; the pointer is kept by the run, and not used after the driver is
        // dropped, which is before the borrow ends.
        let policy = unsafe { std::mem::transmute::<NonNull<dyn Policy + '_>, NonNull<dyn Policy>>(policy) };
        run.policy.set(Some(policy));
        run.deciding.set(false);
        RUN.set(Rc::as_ptr(&run));
        Self { run }
    }

    /// One execution.
    pub(super) fn run(
        threads: Vec<NamedThread>,
        policy: &mut dyn Policy,
        execution: &mut Execution,
        shared: usize,
    ) {
        let driver = Self::enter(policy);
        driver.start(threads, execution, shared);
        match driver.drive() {
            Ended::So(outcome) => driver.run.model.borrow_mut().end(outcome, execution),
            Ended::Raised(panic) => {
                drop(driver);
                resume_unwind(panic)
            }
        }
    }

    fn start(&self, threads: Vec<NamedThread>, before: &mut Execution, shared: usize) {
        let names = threads.into_iter().enumerate().map(|(thread, (name, work))| {
            self.run.prepare(thread, work);
            name
        });
        set_up(|objects| self.run.model.borrow_mut().begin(names, objects, before, shared));
    }

    /// Lets the threads go on to their end.
    fn drive(&self) -> Ended {
        let run = &*self.run;
        run.scheduling.set(true);
        {
            let model = &mut *run.model.borrow_mut();
            let next = run.decide(model);
            run.turn_to(model, next);
        }
        run.give_way(None);
        let ended = run.ended.take().expect("it is nobody's turn");
        if let Ended::So(Outcome::Finished) = ended {
            self.end_worker();
        }
        ended
    }

    /// Lets the thread that runs what is handed to `call_rcu` return: unwinding it would take longer.
    fn end_worker(&self) {
        let Some(thread) = self.run.model.borrow().worker() else { return };
        self.run.turn.set(Some(thread));
        self.run.coroutine(thread).resume();
    }

    /// Ends every thread, muted: no action of theirs is scheduled or recorded any more.
    fn clean(&self) {
        self.run.scheduling.set(false);
        let coroutines = self.run.coroutines.borrow().len();
        (0..coroutines).for_each(|thread| self.run.coroutine(thread).clean());
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.clean();
        self.run.policy.set(None);
        RUN.set(ptr::null());
        set_up(Objects::clear);
    }
}

/// The thread that runs what was handed to `call_rcu`.
fn run_work() {
    loop {
        let Some(run) = scheduling() else { return };
        let oldest = |model: &mut Model| model.oldest_work();
        let target = |model: &mut Model| (Some(model.rcu()), Effect::None);
        let Some((effect, work)) = run.act(Kind::RcuWork, site!("rcu:work"), target, oldest) else { return };
        work();
        run.act(Kind::RcuWorkDone, site!("rcu:done"), |model| (Some(model.rcu()), effect), |_| ());
    }
}
