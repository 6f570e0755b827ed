//! The one way from Python into the core.
//!
//! Guaranteed for whatever runs in it: other Python threads run meanwhile, and a panic arrives as `CorePanic`,
//! without a backtrace on standard error. [`enter_long`] and [`enter_owned`] see Ctrl-C within [`POLL`] and tell
//! the work to stop. The first waits for its end, as the work borrows from the caller, and so stops within
//! 100 ms only if the work looks at its flag every 50 ms; the second waits for [`POLL`] and then goes.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

use crate::errors::Error;

/// How often a waiting call asks Python whether a signal came.
const POLL: Duration = Duration::from_millis(20);

/// Runs short work (below 50 ms) on the calling thread.
pub(crate) fn enter<T, E>(py: Python<'_>, work: impl FnOnce() -> Result<T, E> + Send) -> Result<T, Error>
where
    T: Send,
    Error: From<E>,
{
    py.detach(|| guarded(work))
}

/// Runs work of any length on a thread of its own; the flag becomes true when it should stop.
pub(crate) fn enter_long<T, E>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool) -> Result<T, E> + Send,
) -> Result<T, Error>
where
    T: Send,
    Error: From<E>,
{
    let (send, receive) = mpsc::sync_channel(1);
    py.detach(move || {
        let stop = &AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(move || send.send(guarded(|| work(stop))));
            wait(&receive, stop, None)
        })
    })
}

/// [`enter_long`] for work that owns all it touches: it need not listen, as after Ctrl-C it is left behind,
/// to end by itself when it does not end soon.
pub(crate) fn enter_owned<T, E>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool) -> Result<T, E> + Send + 'static,
) -> Result<T, Error>
where
    T: Send + 'static,
    Error: From<E>,
{
    let (send, receive) = mpsc::sync_channel(1);
    py.detach(move || {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        thread::spawn(move || send.send(guarded(|| work(&seen))));
        wait(&receive, &stop, Some(POLL))
    })
}

/// Waits for an answer; after Ctrl-C tells the work to stop, and then waits no longer than `patience`.
fn wait<T>(
    answer: &Receiver<Result<T, Error>>,
    stop: &AtomicBool,
    patience: Option<Duration>,
) -> Result<T, Error> {
    let mut interrupt = None;
    loop {
        match (answer.recv_timeout(patience.filter(|_| interrupt.is_some()).unwrap_or(POLL)), &interrupt) {
            (Ok(result), None) => return result,
            (Ok(_), Some(_)) => break,
            (Err(RecvTimeoutError::Timeout), None) => {
                #[expect(
                    clippy::redundant_closure_for_method_calls,
                    reason = "the method alone is of one lifetime"
                )]
                let signal = Python::attach(|py| py.check_signals());
                interrupt = signal.err();
                // Only ever set: the work may have stopped itself meanwhile.
                stop.fetch_or(interrupt.is_some(), Ordering::Relaxed);
            }
            (Err(RecvTimeoutError::Timeout), Some(_)) if patience.is_some() => break,
            (Err(RecvTimeoutError::Timeout), Some(_)) => {}
            (Err(RecvTimeoutError::Disconnected), _) => {
                return Err(Error::Panic("the core's thread ended without an answer".to_owned()));
            }
        }
    }
    interrupt.map_or_else(
        || unreachable!("the loop ends after an interrupt only"),
        |error| Err(Error::Python(error)),
    )
}

/// Installs a panic hook that says nothing about panics which [`enter`] turns into exceptions.
pub(crate) fn keep_core_panics_quiet() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if GUARDED.get() {
            PLACE.set(panic.location().map(ToString::to_string));
        } else {
            before(panic);
        }
    }));
}

/// Panics inside the core, on a short or a long call: how the conversion is tested.
#[pyfunction]
pub(crate) fn panic_in_core(py: Python<'_>, message: String, long: bool) -> Result<(), Error> {
    let panic = move || -> Result<(), Error> { panic!("{message}") };
    if long { enter_long(py, |_| panic()) } else { enter(py, panic) }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn guarded<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<T, Error>
where
    Error: From<E>,
{
    let outer = GUARDED.replace(true);
    // What the work touched is either its own or behind locks that do not poison.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    match result {
        Ok(result) => Ok(result?),
        Err(payload) => {
            let message = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            let place = PLACE.take().unwrap_or_else(|| "a thread of the core".to_owned());
            Err(Error::Panic(format!("{message} (at {place}): a defect of pyworkbench, please report it")))
        }
    }
}
