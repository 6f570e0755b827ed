//! The one way from Python into the core.
//!
//! Guaranteed for whatever runs in it: other Python threads run meanwhile, and a panic arrives as `CorePanic`,
//! without a backtrace on standard error. [`enter_long`] sees Ctrl-C within [`POLL`], tells the work to stop, waits
//! for [`POLL`] more, and then leaves it behind: the work owns all it touches, and ends by itself. Not guaranteed:
//! that it ends soon; it may look at its flag.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
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
    work: impl FnOnce(&AtomicBool) -> Result<T, E> + Send + 'static,
) -> Result<T, Error>
where
    T: Send + 'static,
    Error: From<E>,
{
    // What it answers after a signal, nobody asked for any more.
    match run_long(py, work, POLL)? {
        (_, Some(interrupt)) => Err(Error::Python(interrupt)),
        (result, None) => result,
    }
}

/// [`enter_long`] for work whose answer means something however early it ends: after a signal it is given this long
/// to answer, and the signal is answered by that.
pub(crate) fn enter_until_signal<T, E>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool) -> Result<T, E> + Send + 'static,
) -> Result<T, Error>
where
    T: Send + 'static,
    Error: From<E>,
{
    run_long(py, work, Duration::from_secs(5))?.0
}

/// Runs work on a thread of its own; after a signal, waits for its answer for `grace`. Answers that, and the signal.
fn run_long<T, E>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool) -> Result<T, E> + Send + 'static,
    grace: Duration,
) -> Result<(Result<T, Error>, Option<PyErr>), Error>
where
    T: Send + 'static,
    Error: From<E>,
{
    let (send, receive) = mpsc::sync_channel(1);
    py.detach(move || {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        thread::spawn(move || send.send(guarded(|| work(&seen))));
        loop {
            match receive.recv_timeout(POLL) {
                Ok(result) => return Ok((result, None)),
                Err(RecvTimeoutError::Timeout) => {
                    #[expect(
                        clippy::redundant_closure_for_method_calls,
                        reason = "the method alone is of one lifetime"
                    )]
                    let signal = Python::attach(|py| py.check_signals());
                    let Err(interrupt) = signal else { continue };
                    stop.store(true, Ordering::Relaxed);
                    return match receive.recv_timeout(grace) {
                        Ok(result) => Ok((result, Some(interrupt))),
                        Err(_) => Err(Error::Python(interrupt)),
                    };
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Panic("the core's thread ended without an answer".to_owned()));
                }
            }
        }
    })
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
    if long { enter_long(py, move |_| panic()) } else { enter(py, panic) }
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
