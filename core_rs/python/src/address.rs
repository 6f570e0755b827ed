//! Addresses and sizes as Python hands them over, and what strictness asks of them.

use pyo3::Borrowed;
use pyo3::prelude::*;
use runtime::Runtime;
use stage2::{Geometry, Table};

use crate::errors::Error;

/// An address or a size: any integer of 64 bits.
#[derive(Clone, Copy)]
pub(crate) struct Address(pub(crate) u64);

impl<'a, 'py> FromPyObject<'a, 'py> for Address {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match value.extract::<u64>() {
            Ok(address) => Ok(Self(address)),
            Err(error) if error.is_instance_of::<pyo3::exceptions::PyOverflowError>(value.py()) => {
                Err(Error::Input(format!("{} is no address or size: 0 to 2**64 - 1 would be", value.str()?))
                    .into())
            }
            Err(error) => Err(error),
        }
    }
}

/// Refuses a range that is empty, not made of whole pages, or not inside the IPA space.
pub(crate) fn check_range(geometry: &Geometry, ipa: u64, size: u64) -> Result<(), Error> {
    check_aligned(geometry, "ipa", ipa)?;
    check_aligned(geometry, "size", size)?;
    if size == 0 {
        return Err(Error::Input(format!(
            "size 0 maps nothing: a multiple of the page size {:#x} would be right",
            geometry.page_size()
        )));
    }
    check_inside(geometry, ipa)?;
    let end = 1_u64 << geometry.ipa_bits();
    if size > end - ipa {
        return Err(Error::Input(format!(
            "ipa {ipa:#x} + size {size:#x} ends at {:#x}, past the {}-bit IPA space: a size up to {:#x} would fit",
            u128::from(ipa) + u128::from(size),
            geometry.ipa_bits(),
            end - ipa
        )));
    }
    Ok(())
}

/// Refuses an address that is not inside the IPA space.
pub(crate) fn check_inside(geometry: &Geometry, ipa: u64) -> Result<(), Error> {
    let last = (1_u64 << geometry.ipa_bits()) - 1;
    if ipa > last {
        return Err(Error::Input(format!(
            "ipa {ipa:#x} is outside the {}-bit IPA space: {last:#x} is its last address",
            geometry.ipa_bits()
        )));
    }
    Ok(())
}

/// Refuses a physical range that is not made of whole pages, or that a descriptor cannot hold.
pub(crate) fn check_physical<R: Runtime>(table: &Table<R>, pa: u64, size: u64) -> Result<(), Error> {
    check_aligned(table.geometry(), "pa", pa)?;
    let encoding = table.encoding();
    let last_page = pa.checked_add(size - table.geometry().page_size());
    if last_page.is_none_or(|page| encoding.decode_pa(encoding.encode_pa(page)) != page) {
        let greatest = encoding.decode_pa(!0);
        return Err(Error::Input(format!(
            "pa {pa:#x} + size {size:#x} ends past the output addresses of this table: its last page is {greatest:#x}"
        )));
    }
    Ok(())
}

/// Refuses an address or a size that is not a multiple of the page size.
pub(crate) fn check_aligned(geometry: &Geometry, name: &str, value: u64) -> Result<(), Error> {
    let page = geometry.page_size();
    let below = value & !(page - 1);
    if below == value {
        return Ok(());
    }
    let right = match below.checked_add(page) {
        Some(above) => format!("{below:#x} or {above:#x}"),
        None => format!("{below:#x}"),
    };
    Err(Error::Input(format!(
        "{name} {value:#x} is not a multiple of the page size {page:#x}: {right} would be"
    )))
}
