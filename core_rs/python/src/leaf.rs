//! One leaf, decoded.

use pyo3::prelude::*;
use runtime::Runtime;
use stage2::{LAST_LEVEL, Prot, Table, access, execute, is_valid};

/// A leaf or an annotation, field by field; in Python a `pyworkbench.Leaf`.
#[derive(Default, IntoPyObject)]
#[expect(clippy::struct_excessive_bools, reason = "the bits of a descriptor, each by its name")]
pub(crate) struct Leaf {
    pub(crate) ipa: u64,
    pub(crate) size_bytes: u64,
    pub(crate) level: i8,
    pub(crate) kind: &'static str,
    pub(crate) pa: Option<u64>,
    pub(crate) r: bool,
    pub(crate) w: bool,
    pub(crate) px: bool,
    pub(crate) ux: bool,
    pub(crate) af: bool,
    pub(crate) software: u8,
    pub(crate) memtype: Option<&'static str>,
    pub(crate) desc: u64,
}

impl Leaf {
    /// Decodes the descriptor that maps `ipa` at `level`.
    pub(crate) fn of<R: Runtime>(table: &Table<R>, ipa: u64, level: i8, desc: u64) -> Self {
        let size_bytes = table.geometry().granule_size(level);
        let kind = match level {
            _ if !is_valid(desc) => "annotation",
            LAST_LEVEL => "page",
            _ => "block",
        };
        let ipa = ipa & !(size_bytes - 1);
        if !is_valid(desc) {
            return Self { ipa, size_bytes, level, kind, desc, ..Self::default() };
        }
        let encoding = table.encoding();
        let ((r, w, af), (px, ux)) = (access(desc), execute(desc));
        Self {
            ipa,
            size_bytes,
            level,
            kind,
            pa: Some(encoding.decode_pa(desc)),
            r,
            w,
            px,
            ux,
            af,
            software: ((encoding.prot(desc) & Prot::SW).bits() >> Prot::SW0.bits().trailing_zeros()) as u8,
            memtype: encoding.memory_type(desc),
            desc,
        }
    }
}
