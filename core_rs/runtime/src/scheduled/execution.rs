//! Runs one execution: a coroutine for each thread, a policy that says who goes next.
//!
//! Guarantee: at most one thread runs at a time, all on the caller's, and control changes hands only
//! at actions. Whatever the outcome, all coroutines have ended when [`run`] returns: those that were
//! cut short were unwound, so what they owned was dropped.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::model::{Detail, Model, Pending, Thread};
use super::objects::Objects;
use super::{Action, Kind, ObjectInfo, Policy, Target};
use crate::{Site, site};

/// The name and the code of a thread.
pub type NamedThread = (String, Box<dyn FnOnce()>);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The threads' names; after those that were asked for, `rcu` if work was handed to it.
    pub threads: Vec<String>,
    /// What the actions' targets stand for.
    pub objects: Vec<ObjectInfo>,
    /// The actions in their order. The thread of each is what [`Replay`](super::Replay) repeats.
    pub actions: Vec<Action>,
    /// The next action of each thread that has not ended.
    pub pending: Vec<Action>,
    /// Cycles of threads that wait for each other, in the order in which they closed.
    pub deadlocks: Vec<Deadlock>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Default for Execution {
    /// An execution of nothing.
    fn default() -> Self {
        Self {
            threads: Vec::new(),
            objects: Vec::new(),
            actions: Vec::new(),
            pending: Vec::new(),
            deadlocks: Vec::new(),
            outcome: Outcome::Finished,
        }
    }
}

/// Threads that wait for each other, each for the next and the last for the first: none of them ever goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    /// How many actions had been taken when the cycle closed.
    pub after: usize,
    /// The threads that wait, from the one that came last.
    pub cycle: Vec<Waiting>,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All threads have ended, and no work is left to `call_rcu`.
    Finished,
    /// Some threads have not ended, and none can go on.
    Deadlock(Vec<Waiting>),
    /// The policy gave up.
    Abandoned,
    /// A thread panicked.
    Panicked {
        /// Which.
        thread: usize,
        /// With what message.
        message: String,
    },
}

/// A thread that cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it cannot do.
    pub action: Action,
    /// The threads that must do something first: that hold what it waits for, in ascending order; itself among them, perhaps.
    pub holders: Vec<usize>,
}

/// Runs `threads` to an end, in the order that `policy` decides.
///
/// Objects that were [allocated](crate::Runtime::allocated) on this thread since the last run are
/// known in this one; the registry is empty afterwards.
///
/// # Panics
/// When called inside a run.
pub fn run(threads: Vec<NamedThread>, policy: &mut dyn Policy) -> Execution {
    let mut execution = Execution::default();
    run_into(threads, policy, &mut execution);
    execution
}

/// [`run`] into an execution that is there already, whose memory is used again.
///
/// # Panics
/// When called inside a run.
pub fn run_into(threads: Vec<NamedThread>, policy: &mut dyn Policy, execution: &mut Execution) {
    let (names, work): (Vec<_>, Vec<_>) = threads.into_iter().unzip();
    let mut driver = Driver::enter(names);
    let outcome = driver.start(work).unwrap_or_else(|| driver.drive(policy));
    if outcome == Outcome::Finished {
        driver.end_worker();
    }
    driver.unwind();
    MODEL.take().expect("a run is under way").end(outcome, execution);
}

thread_local! {
    /// Of the coroutine that is running; null outside a run, and while a run is muted.
    static YIELDER: Cell<*const Yielder<(), ()>> = const { Cell::new(ptr::null()) };
    static MODEL: RefCell<Option<Model>> = const { RefCell::new(None) };
    /// What the set-up made, until a run begins.
    static SET_UP: RefCell<Objects> = RefCell::new(Objects::default());
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// Enough for the panic machinery below the deepest walk.
const STACK_BYTES: usize = 512 << 10;

/// Whether the caller is a thread of a run, and its actions are to be scheduled.
pub(super) fn scheduled() -> bool {
    !YIELDER.get().is_null()
}

/// Whether a run is under way on this thread, muted or not.
pub(super) fn in_a_run() -> bool {
    MODEL.with_borrow(Option::is_some)
}

/// The state of the run that is under way.
pub(super) fn model<T>(f: impl FnOnce(&mut Model) -> T) -> T {
    MODEL.with_borrow_mut(|model| f(model.as_mut().expect("a run is under way")))
}

/// The thread that runs, and how many actions have been taken; none outside a run, and while one is muted.
pub(super) fn position() -> Option<(usize, usize)> {
    scheduled().then(|| model(|model| (model.running, model.taken.len())))
}

/// The registry of what exists before a run.
pub(super) fn set_up<T>(f: impl FnOnce(&mut Objects) -> T) -> T {
    SET_UP.with_borrow_mut(f)
}

/// Offers an action of the running thread to the scheduler, and returns when it has been taken.
///
/// `prepare` says what the action's target and details are at this moment. A thread that is
/// unwinding takes its actions at once: other threads must not run inside its panic.
pub(super) fn act(kind: Kind, site: Site, prepare: impl FnOnce(&mut Model) -> (Option<Target>, Detail)) {
    let unwinding = std::thread::panicking();
    model(|model| {
        let (target, detail) = prepare(model);
        let effect = detail.effect();
        let action = Action { thread: model.running, kind, target, site, effect };
        let pending = Pending { action, detail };
        if unwinding {
            model.apply(&pending);
        } else {
            model.threads[action.thread].pending = Some(pending);
        }
    });
    if !unwinding {
        suspend();
    }
}

/// Carries out the running thread's actions inside `look` at once, unrecorded.
pub(super) fn muted<T>(look: impl FnOnce() -> T) -> T {
    /// Ends the silence, also when `look` panics.
    struct Restore(*const Yielder<(), ()>);
    impl Drop for Restore {
        fn drop(&mut self) {
            YIELDER.set(self.0);
        }
    }
    let _restore = Restore(YIELDER.replace(ptr::null()));
    look()
}

#[allow(unsafe_code)]
fn suspend() {
    // SAFETY: `resume` sets the pointer to the yielder of the coroutine that it resumes, and resets
    // it when control comes back; so it is the yielder of the coroutine that runs this, whose stack,
    // where the yielder is, cannot go before this function returns or unwinds.
    let yielder = unsafe { &*YIELDER.get() };
    yielder.suspend(());
}

/// The coroutines of a run; dropping it ends the run.
struct Driver {
    coroutines: Vec<Running>,
}

struct Running {
    coroutine: Coroutine<(), (), ()>,
    /// Null until it has been resumed once.
    yielder: *const Yielder<(), ()>,
}

impl Driver {
    fn enter(names: Vec<String>) -> Self {
        assert!(!in_a_run(), "scheduled::run is called inside a run: one thread's run is one at a time");
        let mut objects = SET_UP.take();
        objects.begin();
        MODEL.set(Some(Model::new(names.into_iter(), objects)));
        Self { coroutines: Vec::new() }
    }

    /// Runs each thread up to its first action.
    fn start(&mut self, work: Vec<Box<dyn FnOnce()>>) -> Option<Outcome> {
        work.into_iter().enumerate().find_map(|(thread, work)| {
            self.spawn(work);
            self.resume(thread)
        })
    }

    fn drive(&mut self, policy: &mut dyn Policy) -> Outcome {
        let mut enabled = Vec::new();
        loop {
            if let Some(panicked) = self.start_worker() {
                return panicked;
            }
            model(|model| model.enabled(&mut enabled));
            if enabled.is_empty() {
                return model(|model| model.settled());
            }
            let Some(choice) = model(|model| policy.choose(&enabled, &model.taken)) else {
                return Outcome::Abandoned;
            };
            let thread = enabled[choice].thread;
            model(|model| model.take(thread));
            if let Some(panicked) = self.resume(thread) {
                return panicked;
            }
            model(|model| model.note_deadlock(thread));
        }
    }

    /// Starts the thread that runs what is handed to `call_rcu`, when there is something.
    fn start_worker(&mut self) -> Option<Outcome> {
        let thread = self.coroutines.len();
        let needed = model(|model| {
            let needed = model.has_work() && model.worker().is_none();
            if needed {
                let name = String::from("rcu");
                model.threads.push(Thread { name, runs_work: true, ..Thread::default() });
            }
            needed
        });
        if !needed {
            return None;
        }
        self.spawn(Box::new(run_work));
        self.resume(thread)
    }

    /// Lets that thread return when all work is done: unwinding it would take longer.
    fn end_worker(&mut self) {
        if let Some(thread) = model(|model| model.worker().filter(|_| !model.has_work())) {
            self.resume(thread);
        }
    }

    fn spawn(&mut self, work: Box<dyn FnOnce()>) {
        let stack = STACKS
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| DefaultStack::new(STACK_BYTES).expect("memory for a coroutine's stack"));
        let coroutine = Coroutine::with_stack(stack, |yielder: &Yielder<(), ()>, ()| {
            YIELDER.set(ptr::from_ref(yielder));
            work();
        });
        self.coroutines.push(Running { coroutine, yielder: ptr::null() });
    }

    /// Lets a thread go on to its next action or its end; answers how it ended the run, if it did.
    fn resume(&mut self, thread: usize) -> Option<Outcome> {
        let running = &mut self.coroutines[thread];
        model(|model| model.running = thread);
        YIELDER.set(running.yielder);
        let result = catch_unwind(AssertUnwindSafe(|| running.coroutine.resume(())));
        running.yielder = YIELDER.replace(ptr::null());
        match result {
            Ok(CoroutineResult::Yield(()) | CoroutineResult::Return(())) => None,
            Err(panic) => Some(Outcome::Panicked { thread, message: message(panic.as_ref()) }),
        }
    }

    /// Ends every coroutine, muted: no action of theirs is scheduled or recorded any more.
    fn unwind(&mut self) {
        for Running { mut coroutine, .. } in self.coroutines.drain(..) {
            coroutine.force_unwind();
            STACKS.with_borrow_mut(|stacks| stacks.push(coroutine.into_stack()));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.unwind();
        MODEL.set(None);
        SET_UP.take();
    }
}

/// The thread that runs what was handed to `call_rcu`.
fn run_work() {
    loop {
        act(Kind::RcuWork, site!("rcu:work"), |model| (Some(model.rcu()), Detail::None));
        let Some((effect, work)) = model(Model::oldest_work) else { return };
        work();
        act(Kind::RcuWorkDone, site!("rcu:done"), |model| (Some(model.rcu()), Detail::Work(effect)));
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| String::from("a panic without a message"))
}
