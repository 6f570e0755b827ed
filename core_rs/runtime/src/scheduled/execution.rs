//! Runs one execution: a coroutine for each thread, a policy that says who goes next.
//!
//! Guarantee: at most one thread runs at a time, all on the caller's, and control changes hands only
//! at actions. Whatever the outcome, all coroutines have ended when [`run`] returns: those that were
//! cut short were unwound, so what they owned was dropped.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::model::{Model, Thread};
use super::objects::Objects;
use super::{Action, Effect, Kind, ObjectInfo, Policy, Target};
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
    /// The threads that must do something first, such as drop the lock, in ascending order; itself among them,
    /// perhaps.
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
    let mut driver = Driver::enter(policy);
    let outcome = driver.start(threads).unwrap_or_else(|| driver.drive());
    if outcome == Outcome::Finished {
        driver.end_worker();
    }
    driver.unwind();
    driver.run.model.borrow_mut().end(outcome, execution);
}

/// A run as its threads reach it.
struct Run {
    model: RefCell<Model>,
    /// Of the coroutine that is running; null while none is, and while the run is muted.
    yielder: Cell<*const Yielder<(), ()>>,
    /// Who decides; null while the threads are brought to their first actions, so that none goes beyond.
    policy: Cell<Option<NonNull<dyn Policy>>>,
    next: RefCell<Next>,
    /// Whether the policy is deciding: a panic then is its own.
    deciding: Cell<bool>,
}

/// What is to be done when no thread runs.
enum Next {
    /// To decide.
    Decide,
    /// To let a thread go on, whose next action was taken.
    Resume(usize),
    /// To start the thread that runs what is handed to `call_rcu`.
    StartWorker,
    /// To end.
    End(Outcome),
}

/// What a run needs room for, kept from one to the next.
struct Room {
    run: Rc<Run>,
    coroutines: Vec<Running>,
    stacks: Vec<DefaultStack>,
}

thread_local! {
    /// The run that is under way on this thread; null when there is none.
    static RUN: Cell<*const Run> = const { Cell::new(ptr::null()) };
    /// What the set-up made, until a run begins.
    static SET_UP: RefCell<Objects> = RefCell::new(Objects::default());
    static ROOM: Cell<Option<Room>> = const { Cell::new(None) };
}

/// Enough for the panic machinery below the deepest walk.
const STACK_BYTES: usize = 512 << 10;

/// The run under way on this thread.
#[allow(unsafe_code)]
#[inline]
fn current<'a>() -> Option<&'a Run> {
    // SAFETY: the pointer is to the `Run` that a `Driver` on this thread owns a share of, and is only
    // ever borrowed as shared; the driver resets the pointer before it gives its share away. What is made of the reference ends
    // sooner: it is used within one call by code of this thread, which runs inside the driver's life.
    unsafe { RUN.get().as_ref() }
}

/// Whether the caller is a thread of a run, and its actions are to be scheduled.
#[inline]
pub(super) fn scheduled() -> bool {
    current().is_some_and(|run| !run.yielder.get().is_null())
}

/// Whether a run is under way on this thread, muted or not.
pub(super) fn in_a_run() -> bool {
    !RUN.get().is_null()
}

/// The state of the run that is under way.
#[inline]
pub(super) fn model<T>(f: impl FnOnce(&mut Model) -> T) -> T {
    f(&mut current().expect("a run is under way").model.borrow_mut())
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
/// `prepare` says what the action's target is, and what is known of its effect, at this moment. A thread that is
/// unwinding takes its actions at once: other threads must not run inside its panic.
#[inline(always)]
pub(super) fn act(kind: Kind, site: Site, prepare: impl FnOnce(&mut Model) -> (Option<Target>, Effect)) {
    let run = current().expect("a run is under way");
    {
        let model = &mut *run.model.borrow_mut();
        let (target, effect) = prepare(model);
        if std::thread::panicking() {
            model.apply(Action { thread: model.running, kind, target, site, effect });
            return;
        }
        model.offer(kind, target, effect, site);
        if goes_on(run, model) {
            return;
        }
    }
    suspend(run);
}

/// Decides who goes next; answers whether it is the running thread. The decision is made here and not where the
/// coroutines are resumed: most often the same thread goes on, and nothing need be switched.
fn goes_on(run: &Run, model: &mut Model) -> bool {
    let Some(policy) = run.policy.get() else { return false };
    let running = model.running;
    match decide(run, model, policy) {
        Next::Resume(thread) if thread == running => true,
        next => {
            *run.next.borrow_mut() = next;
            false
        }
    }
}

/// Who goes next.
#[allow(unsafe_code)]
#[inline]
fn decide(run: &Run, model: &mut Model, mut policy: NonNull<dyn Policy>) -> Next {
    if model.has_work() && model.worker().is_none() {
        return Next::StartWorker;
    }
    model.find_enabled();
    let (enabled, taken) = model.enabled();
    if enabled.is_empty() {
        return Next::End(model.settled());
    }
    run.deciding.set(true);
    // SAFETY: the pointer is made from the exclusive borrow that `run_into` holds while the run is under way, and
    // is used here only, which a policy cannot reach: a run inside a run panics, and actions need the model,
    // which is borrowed now.
    let choice = unsafe { policy.as_mut() }.choose(enabled, taken);
    run.deciding.set(false);
    let Some(choice) = choice else { return Next::End(Outcome::Abandoned) };
    Next::Resume(model.take(choice))
}

/// Carries out the running thread's actions inside `look` at once, unrecorded.
pub(super) fn muted<T>(look: impl FnOnce() -> T) -> T {
    /// Ends the silence, also when `look` panics.
    struct Restore<'a>(&'a Run, *const Yielder<(), ()>);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            self.0.yielder.set(self.1);
        }
    }
    let _restore = current().map(|run| Restore(run, run.yielder.replace(ptr::null())));
    look()
}

#[allow(unsafe_code)]
#[inline]
fn suspend(run: &Run) {
    // SAFETY: `resume` sets the pointer to the yielder of the coroutine that it resumes, and resets
    // it when control comes back; so it is the yielder of the coroutine that runs this, whose stack,
    // where the yielder is, cannot go before this function returns or unwinds.
    let yielder = unsafe { &*run.yielder.get() };
    yielder.suspend(());
}

/// The coroutines of a run; dropping it ends the run.
struct Driver {
    run: Rc<Run>,
    coroutines: Vec<Running>,
    stacks: Vec<DefaultStack>,
    policy: NonNull<dyn Policy>,
}

struct Running {
    coroutine: Coroutine<(), (), ()>,
    /// Null until it has been resumed once.
    yielder: *const Yielder<(), ()>,
}

impl Driver {
    #[allow(unsafe_code)]
    fn enter(policy: &mut dyn Policy) -> Self {
        assert!(!in_a_run(), "scheduled::run is called inside a run: one thread's run is one at a time");
        let room = ROOM.take().unwrap_or_else(Room::new);
        room.run.next.replace(Next::Decide);
        room.run.deciding.set(false);
        RUN.set(Rc::as_ptr(&room.run));
        let policy = NonNull::from(policy);
        // SAFETY: only the lifetime changes; the pointer is kept by this driver and its run, and not used after
        // the driver is dropped, which is before the borrow ends.
        let policy = unsafe { std::mem::transmute::<NonNull<dyn Policy + '_>, NonNull<dyn Policy>>(policy) };
        let Room { run, coroutines, stacks } = room;
        Self { run, coroutines, stacks, policy }
    }

    /// Runs each thread up to its first action.
    fn start(&mut self, threads: Vec<NamedThread>) -> Option<Outcome> {
        let mut work = Vec::with_capacity(threads.len());
        let names = threads.into_iter().map(|(name, its)| {
            work.push(its);
            name
        });
        set_up(|objects| self.run.model.borrow_mut().begin(names, objects));
        work.into_iter().enumerate().find_map(|(thread, work)| {
            self.spawn(work);
            self.resume(thread)
        })
    }

    fn drive(&mut self) -> Outcome {
        self.run.policy.set(Some(self.policy));
        loop {
            let next = self.run.next.replace(Next::Decide);
            let ended = match next {
                Next::Decide => {
                    let run = &self.run;
                    let next = decide(run, &mut run.model.borrow_mut(), self.policy);
                    run.next.replace(next);
                    None
                }
                Next::Resume(thread) => self.resume(thread),
                Next::StartWorker => self.start_worker(),
                Next::End(outcome) => Some(outcome),
            };
            if let Some(outcome) = ended {
                return outcome;
            }
        }
    }

    /// Starts the thread that runs what is handed to `call_rcu`.
    fn start_worker(&mut self) -> Option<Outcome> {
        let thread = self.coroutines.len();
        let name = String::from("rcu");
        let worker = Thread { name, runs_work: true, ..Thread::default() };
        self.run.model.borrow_mut().threads.push(worker);
        self.spawn(Box::new(run_work));
        self.run.policy.set(None);
        let ended = self.resume(thread);
        self.run.policy.set(Some(self.policy));
        ended
    }

    /// Lets that thread return when all work is done: unwinding it would take longer.
    fn end_worker(&mut self) {
        let worker = {
            let model = self.run.model.borrow();
            model.worker().filter(|_| !model.has_work())
        };
        if let Some(thread) = worker {
            self.resume(thread);
        }
    }

    fn spawn(&mut self, work: Box<dyn FnOnce()>) {
        let stack = self.stacks.pop();
        let stack =
            stack.unwrap_or_else(|| DefaultStack::new(STACK_BYTES).expect("memory for a coroutine's stack"));
        let coroutine = Coroutine::with_stack(stack, |yielder: &Yielder<(), ()>, ()| {
            if let Some(run) = current() {
                run.yielder.set(ptr::from_ref(yielder));
            }
            work();
        });
        self.coroutines.push(Running { coroutine, yielder: ptr::null() });
    }

    /// Lets a thread go on until another's turn comes, or it ends; answers how it ended the run, if it did.
    fn resume(&mut self, thread: usize) -> Option<Outcome> {
        let Self { run, coroutines, .. } = self;
        let running = &mut coroutines[thread];
        run.model.borrow_mut().running = thread;
        run.yielder.set(running.yielder);
        let result = catch_unwind(AssertUnwindSafe(|| running.coroutine.resume(())));
        running.yielder = run.yielder.replace(ptr::null());
        if !matches!(result, Ok(CoroutineResult::Yield(()))) {
            run.model.borrow_mut().ended(thread);
        }
        match result {
            Ok(CoroutineResult::Yield(()) | CoroutineResult::Return(())) => None,
            Err(panic) if run.deciding.get() => resume_unwind(panic),
            Err(panic) => Some(Outcome::Panicked { thread, message: message(panic.as_ref()) }),
        }
    }

    /// Ends every coroutine, muted: no action of theirs is scheduled or recorded any more.
    fn unwind(&mut self) {
        self.run.policy.set(None);
        for Running { mut coroutine, .. } in self.coroutines.drain(..) {
            coroutine.force_unwind();
            self.stacks.push(coroutine.into_stack());
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.unwind();
        RUN.set(ptr::null());
        set_up(Objects::clear);
        let (coroutines, stacks) = (std::mem::take(&mut self.coroutines), std::mem::take(&mut self.stacks));
        ROOM.set(Some(Room { run: Rc::clone(&self.run), coroutines, stacks }));
    }
}

impl Room {
    fn new() -> Self {
        let run = Run {
            model: RefCell::new(Model::default()),
            yielder: Cell::new(ptr::null()),
            policy: Cell::new(None),
            next: RefCell::new(Next::Decide),
            deciding: Cell::new(false),
        };
        Self { run: Rc::new(run), coroutines: Vec::new(), stacks: Vec::new() }
    }
}

/// The thread that runs what was handed to `call_rcu`.
fn run_work() {
    loop {
        act(Kind::RcuWork, site!("rcu:work"), |model| (Some(model.rcu()), Effect::None));
        let Some((effect, work)) = model(Model::oldest_work) else { return };
        work();
        act(Kind::RcuWorkDone, site!("rcu:done"), |model| (Some(model.rcu()), effect));
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| String::from("a panic without a message"))
}
