//! Return codes of the table's operations, as upstream has them.

/// Why an operation ended early. The numbers are Linux errnos, negative as the kernel returns them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(i32)]
pub enum Errno {
    /// Lost a race, met a locked entry, or found nothing to change: the vCPU tries again.
    #[error("EAGAIN")]
    Again = -11,
    /// The page cache ran out.
    #[error("ENOMEM")]
    NoMem = -12,
    /// An attribute combination that does not exist, or a table that was destroyed.
    #[error("EINVAL")]
    Inval = -22,
    /// The range leaves the IPA space.
    #[error("ERANGE")]
    Range = -34,
}

impl Errno {
    /// The negative number the kernel returns.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The name, such as `EAGAIN`.
    pub fn name(self) -> String {
        self.to_string()
    }
}
