//! One error for the whole boundary, and the Python exception each kind of it becomes.
//!
//! The exception classes are Python's, in `pyworkbench/errors.py`: they carry attributes and docstrings.

use std::fmt;

use pyo3::prelude::*;

pyo3::import_exception!(pyworkbench.errors, CaptureError);
pyo3::import_exception!(pyworkbench.errors, CorePanic);
pyo3::import_exception!(pyworkbench.errors, InputError);
pyo3::import_exception!(pyworkbench.errors, TableError);

/// Why a call from Python failed.
#[derive(Debug)]
pub(crate) enum Error {
    /// An argument is wrong: the message names it and says what would be right.
    Input(String),
    /// The table refused.
    Table {
        /// Upstream's return code, as an errno.
        errno: stage2::Errno,
        /// What was refused, and why that happens.
        message: String,
    },
    /// The core panicked.
    Panic(String),
    /// Python raised: an interrupt, or a failed import.
    Python(PyErr),
}

impl Error {
    /// An [`Error::Input`] with what a core crate's error says.
    pub(crate) fn input(message: impl fmt::Display) -> Self {
        Self::Input(message.to_string())
    }
}

impl From<stage2::ConfigError> for Error {
    fn from(error: stage2::ConfigError) -> Self {
        Self::input(error)
    }
}

impl From<stage2::ScriptError> for Error {
    fn from(error: stage2::ScriptError) -> Self {
        Self::input(error)
    }
}

impl From<explore::Error> for Error {
    fn from(error: explore::Error) -> Self {
        Self::input(error)
    }
}

impl From<kvm::Error> for Error {
    fn from(error: kvm::Error) -> Self {
        Self::input(error)
    }
}

impl From<PyErr> for Error {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Input(message) => InputError::new_err(message),
            Error::Table { errno, message } => TableError::new_err((-errno.code(), message)),
            Error::Panic(message) => CorePanic::new_err(message),
            Error::Python(error) => error,
        }
    }
}
