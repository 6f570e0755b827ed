//! Arrays of addresses from numpy: read where they lie, in parts between which Ctrl-C can stop.
//!
//! What is read is numpy's own memory; a program that writes to an array while a call reads it gets a wrong answer.

use numpy::{PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::Borrowed;
use pyo3::prelude::*;
use runtime::Runtime;
use stage2::Table;

use crate::address::{check_aligned, check_inside, check_physical};
use crate::enter::enter;
use crate::errors::Error;

/// Elements that are worked on between two looks for an interrupt: a few milliseconds, half a mebibyte.
const PART: usize = 1 << 16;

/// Addresses: a one-dimensional, contiguous numpy array of `uint64`.
pub(crate) struct Addresses<'py>(PyReadonlyArray1<'py, u64>);

impl<'a, 'py> FromPyObject<'a, 'py> for Addresses<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(value.extract()?))
    }
}

impl Addresses<'_> {
    pub(crate) fn as_slice(&self) -> Result<&[u64], Error> {
        self.0.as_slice().map_err(Error::input)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Calls `work` with each part and the place of its first element, detached from Python, until it answers an
    /// error or all is done; what it has done stays.
    pub(crate) fn in_parts(
        &self,
        py: Python<'_>,
        mut work: impl FnMut(usize, &[u64]) -> Result<(), ()> + Send,
    ) -> Result<(), Error> {
        for (part, addresses) in self.as_slice()?.chunks(PART).enumerate() {
            if part > 0 {
                py.check_signals()?;
            }
            let done = enter(py, || Ok::<_, Error>(work(part * PART, addresses)))?;
            if done.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Refuses addresses that are not of pages inside the IPA space.
    pub(crate) fn check_pages<R: Runtime>(&self, table: &Table<R>) -> Result<(), Error> {
        let geometry = table.geometry();
        self.check((geometry.page_size() - 1) | !0 << geometry.ipa_bits(), |ipa| {
            check_aligned(geometry, "ipa", ipa)?;
            check_inside(geometry, ipa)
        })
    }

    /// Refuses addresses outside the IPA space.
    pub(crate) fn check_inside<R: Runtime>(&self, table: &Table<R>) -> Result<(), Error> {
        let geometry = table.geometry();
        self.check(!0 << geometry.ipa_bits(), |ipa| check_inside(geometry, ipa))
    }

    /// Refuses addresses that are not of pages which a descriptor can hold.
    pub(crate) fn check_physical<R: Runtime>(&self, table: &Table<R>) -> Result<(), Error> {
        let encoding = table.encoding();
        let page = table.geometry().page_size();
        self.check(!encoding.decode_pa(!0), |pa| check_physical(table, pa, page))
    }

    /// Asks `refuse` about each address only if one of them has one of the bits that none should have.
    fn check(&self, wrong_bits: u64, refuse: impl Fn(u64) -> Result<(), Error>) -> Result<(), Error> {
        let addresses = self.as_slice()?;
        if addresses.iter().fold(0, |all, address| all | address) & wrong_bits == 0 {
            return Ok(());
        }
        let wrong =
            addresses.iter().enumerate().find_map(|(index, &address)| Some((index, refuse(address).err()?)));
        wrong.map_or(Ok(()), |(index, error)| {
            Err(match error {
                Error::Input(message) => Error::Input(format!("element {index}: {message}")),
                other => other,
            })
        })
    }
}
