//! A coroutine that does the work of one thread after the other.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::{Rc, Weak};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// Enough for the panic machinery below the deepest walk.
const STACK_BYTES: usize = 512 << 10;

/// What a thread is unwound with when its run is over before it is.
pub(super) struct Abandoned;

/// A coroutine, which does one thread's work after the other's. It yields whether there is more to be done.
pub(super) struct Running {
    coroutine: UnsafeCell<Coroutine<(), bool, ()>>,
    /// Whether it runs, or is below one that does.
    pub(super) below: Cell<bool>,
    /// Null until it has been resumed once.
    pub(super) yielder: Cell<*const Yielder<(), bool>>,
    /// What is to be done; nothing once that has begun.
    pub(super) work: Cell<Option<Box<dyn FnOnce()>>>,
    /// Whether work has begun that is not over.
    busy: Cell<bool>,
    /// What the work has ended with, if it was that.
    pub(super) panic: Cell<Option<Box<dyn Any + Send>>>,
}

impl Running {
    pub(super) fn new() -> Rc<Self> {
        let stack = DefaultStack::new(STACK_BYTES).expect("memory for a coroutine's stack");
        Rc::new_cyclic(|this: &Weak<Self>| {
            let this = this.clone();
            let body = move |yielder: &Yielder<(), bool>, ()| {
                // Whoever resumes it holds a share, but who drops it.
                while let Some(this) = this.upgrade() {
                    this.yielder.set(ptr::from_ref(yielder));
                    if let Some(work) = this.work.take() {
                        this.busy.set(true);
                        this.panic.set(catch_unwind(AssertUnwindSafe(work)).err());
                        this.busy.set(false);
                    }
                    drop(this);
                    yielder.suspend(false);
                }
            };
            Self {
                coroutine: UnsafeCell::new(Coroutine::with_stack(stack, body)),
                below: Cell::new(false),
                yielder: Cell::new(ptr::null()),
                work: Cell::new(None),
                busy: Cell::new(false),
                panic: Cell::new(None),
            }
        })
    }

    /// Lets it go on until it yields; answers whether there is more to be done.
    #[allow(unsafe_code)]
    #[inline]
    pub(super) fn resume(&self) -> bool {
        assert!(!self.below.replace(true), "a coroutine cannot be resumed by itself");
        // SAFETY: this is the only place where the coroutine is borrowed before it is dropped, and `below` says whether
        // it is. It never unwinds to here, since its body catches what the work panics with.
        let result = unsafe { &mut *self.coroutine.get() }.resume(());
        self.below.set(false);
        matches!(result, CoroutineResult::Yield(true))
    }

    /// Ends what is under way, so that other work can be done.
    pub(super) fn clean(&self) {
        if self.busy.get() {
            self.resume();
            self.panic.take();
        }
        self.work.take();
    }
}

impl Drop for Running {
    /// Lets the coroutine return, which nobody has a share of any more: unwinding it would take longer.
    fn drop(&mut self) {
        self.resume();
    }
}

/// What a panic says.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| String::from("a panic without a message"))
}
