//! How a call on a [`Stage2`] is carried out: piece by piece or part by part, under the lock, with its record, and
//! what it answers.

use pyo3::prelude::*;
use stage2::{Env, Errno, EventLog, MemoryCache, Stopped, Walk};

use crate::address::{Address, check_aligned, check_inside, check_range};
use crate::arrays::Addresses;
use crate::enter::enter;
use crate::errors::Error;
use crate::pieces::{Cut, pieces};
use crate::table::Stage2;

/// How an operation is carried out.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) walk: Walk,
    pub(crate) cut: Cut,
    /// What the caller's page cache holds; `None` is plenty.
    pub(crate) cache_pages: Option<u64>,
}

impl Call {
    pub(crate) fn exclusive(name: &'static str) -> Self {
        Self { name, walk: Walk::Exclusive, cut: Cut::Aligned, cache_pages: None }
    }
}

impl Stage2 {
    /// Carries `operation` out over a range, piece by piece, and records what it caused.
    pub(crate) fn over_range(
        &self,
        py: Python<'_>,
        call: Call,
        ipa: u64,
        size: u64,
        mut operation: impl FnMut(&mut Env<EventLog>, u64, u64) -> Result<(), Errno> + Send,
    ) -> Result<Result<(), Errno>, Error> {
        let mut env = Env::new(EventLog::default());
        if let Some(pages) = call.cache_pages {
            env.memcache = MemoryCache::limited(pages);
        }
        let mut number = None;
        for (at, size) in pieces(self.vm.table.geometry(), ipa, size, call.cut) {
            if number.is_some() {
                py.check_signals()?;
            }
            let result = enter(py, || {
                let result = match call.walk {
                    Walk::Shared => {
                        let _held = self.vm.mmu_lock.read();
                        operation(&mut env, at, size)
                    }
                    Walk::Exclusive => {
                        let _held = self.vm.mmu_lock.write();
                        operation(&mut env, at, size)
                    }
                };
                let mut history = self.vm.history.lock();
                let number = *number.get_or_insert_with(|| history.begin());
                history.add(number, call.name, env.log.events.drain(..));
                Ok::<_, Error>(result)
            })?;
            if result.is_err() {
                return Ok(result);
            }
        }
        Ok(Ok(()))
    }

    /// [`Stage2::over_range`] for an operation whose only input is the range.
    pub(crate) fn checked_range(
        &self,
        py: Python<'_>,
        call: Call,
        ipa: Address,
        size: Address,
        operation: impl FnMut(&mut Env<EventLog>, u64, u64) -> Result<(), Errno> + Send,
    ) -> Result<i32, Error> {
        if self.strict {
            check_range(self.vm.table.geometry(), ipa.0, size.0)?;
        }
        let result = self.over_range(py, call, ipa.0, size.0, operation)?;
        self.answer(result, |errno| refused(call.name, errno))
    }

    /// Carries `operation` out over the elements of an array, part by part, and records what it caused.
    pub(crate) fn over_elements(
        &self,
        py: Python<'_>,
        name: &'static str,
        walk: Walk,
        ipas: &Addresses<'_>,
        mut operation: impl FnMut(&mut Env<EventLog>, usize, &[u64]) -> Result<(), Stopped> + Send,
    ) -> Result<Result<(), Stopped>, Error> {
        let mut env = Env::new(EventLog::default());
        let mut number = None;
        let mut result = Ok(());
        ipas.in_parts(py, |first, ipas| {
            let part = match walk {
                Walk::Shared => {
                    let _held = self.vm.mmu_lock.read();
                    operation(&mut env, first, ipas)
                }
                Walk::Exclusive => {
                    let _held = self.vm.mmu_lock.write();
                    operation(&mut env, first, ipas)
                }
            };
            result = part.map_err(|stopped| Stopped { index: first + stopped.index, ..stopped });
            let mut history = self.vm.history.lock();
            let number = *number.get_or_insert_with(|| history.begin());
            history.add(number, name, env.log.events.drain(..));
            result.map_err(|_| ())
        })?;
        Ok(result)
    }

    /// [`Stage2::answer`], with the element at which an array call ended.
    pub(crate) fn answer_elements(
        &self,
        name: &str,
        ipas: &Addresses<'_>,
        result: Result<(), Stopped>,
        explain: impl FnOnce(Errno) -> String,
    ) -> Result<i32, Error> {
        let index = result.map_or_else(|stopped| stopped.index, |()| 0);
        let ipa = ipas.as_slice()?.get(index).copied().unwrap_or_default();
        self.answer(result.map_err(|stopped| stopped.errno), |errno| {
            format!("{name}: ipas[{index}], {ipa:#x}: {}", explain(errno))
        })
    }

    pub(crate) fn check_page(&self, ipa: Address) -> Result<(), Error> {
        if self.strict {
            check_aligned(self.vm.table.geometry(), "ipa", ipa.0)?;
            check_inside(self.vm.table.geometry(), ipa.0)?;
        }
        Ok(())
    }

    /// Upstream's return code, or in a strict table an exception that says why.
    pub(crate) fn answer(
        &self,
        result: Result<(), Errno>,
        explain: impl FnOnce(Errno) -> String,
    ) -> Result<i32, Error> {
        match result {
            Ok(()) => Ok(0),
            Err(errno) if self.strict => Err(Error::Table { errno, message: explain(errno) }),
            Err(errno) => Ok(errno.code()),
        }
    }
}

/// What an error means that any operation may give.
pub(crate) fn refused(operation: &str, errno: Errno) -> String {
    match errno {
        Errno::NoMem => format!("{operation}: no table page is left"),
        Errno::Inval => format!("{operation}: the table was destroyed; a new Stage2 would do"),
        Errno::Again => format!("{operation}: another walk was faster; try again"),
        Errno::Range => format!("{operation}: the range leaves the IPA space"),
    }
}
