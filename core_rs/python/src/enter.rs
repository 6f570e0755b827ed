//! The one way from Python into the core.
//!
//! Guaranteed for whatever runs in [`enter`] or [`enter_long`]: other Python threads run meanwhile; a panic
//! arrives as `CorePanic`, without a backtrace on standard error; and with [`enter_long`], Ctrl-C is seen
//! within [`POLL`], after which the work is told to stop and its end is waited for. Not guaranteed: that
//! the work listens; it has to look at its flag at least every 50 ms for the whole to stop within 100 ms.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
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
            let mut interrupt = None;
            loop {
                match receive.recv_timeout(POLL) {
                    Ok(result) => return interrupt.map_or(result, |error| Err(Error::Python(error))),
                    Err(RecvTimeoutError::Timeout) if interrupt.is_none() => {
                        interrupt = Python::attach(|py| py.check_signals()).err();
                        stop.store(interrupt.is_some(), Ordering::Relaxed);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(Error::Panic("the core's thread ended without an answer".to_owned()));
                    }
                }
            }
        })
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
