//! What a mapping permits, and what memory it is.

use bitflags::bitflags;

bitflags! {
    /// Permissions, memory type and software bits of a mapping, numbered as Linux 7.3 numbers them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Prot: u64 {
        /// Execute at EL1.
        const PX = 1;
        /// Execute at EL0.
        const UX = 1 << 1;
        /// Execute at EL1 and EL0.
        const X = Self::PX.bits() | Self::UX.bits();
        /// Write.
        const W = 1 << 2;
        /// Read.
        const R = 1 << 3;
        /// Device memory (nGnRE).
        const DEVICE = 1 << 4;
        /// Normal memory, not cacheable.
        const NORMAL_NC = 1 << 5;
        /// Software bit 0, bit 55 of the descriptor.
        const SW0 = 1 << 55;
        /// Software bit 1.
        const SW1 = 1 << 56;
        /// Software bit 2.
        const SW2 = 1 << 57;
        /// Software bit 3.
        const SW3 = 1 << 58;
        /// All software bits.
        const SW = Self::SW0.bits() | Self::SW1.bits() | Self::SW2.bits() | Self::SW3.bits();
    }
}
