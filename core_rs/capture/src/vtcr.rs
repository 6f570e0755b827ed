//! `VTCR_EL2`: the geometry of a table, as the kernel gave it to the hardware (Arm ARM, D24.2).

use stage2::{Config, Granule};

use crate::env::Environment;

/// The fields of `VTCR_EL2` that shape a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vtcr {
    pub(crate) granule: Granule,
    pub(crate) ipa_bits: u32,
    pub(crate) start_level: i8,
    pub(crate) lpa2: bool,
    /// The hardware may set access flags, if it can.
    pub(crate) hardware_af: bool,
}

impl Vtcr {
    /// Takes the register apart; `None` for a granule that does not exist.
    pub(crate) fn read(value: u64) -> Option<Self> {
        let field = |shift: u32, bits: u32| value >> shift & ((1 << bits) - 1);
        let (granule, base) = match field(14, 2) {
            0b00 => (Granule::K4, 2),
            0b01 => (Granule::K64, 3),
            0b10 => (Granule::K16, 3),
            _ => return None,
        };
        Some(Self {
            granule,
            ipa_bits: 64 - field(0, 6) as u32,
            start_level: base - field(6, 2) as i8,
            lpa2: field(32, 1) == 1,
            hardware_af: field(21, 1) == 1,
        })
    }

    /// The table that a kernel with this register and in this environment builds.
    pub(crate) fn config(self, env: &Environment) -> Config {
        Config {
            start_level: Some(self.start_level),
            fwb: env.fwb,
            xnx: env.xnx,
            tlb_range: env.tlb_range,
            lpa2: self.lpa2,
            ..Config::new(self.granule, self.ipa_bits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vtcr_of_the_captures_gives_their_geometry() {
        let read = |value| {
            let vtcr = Vtcr::read(value).unwrap();
            (vtcr.granule, vtcr.ipa_bits, vtcr.start_level, vtcr.lpa2)
        };
        assert_eq!(read(0x1802e3558), (Granule::K4, 40, 1, true));
        assert_eq!(read(0x802d3558), (Granule::K4, 40, 1, false));
        assert_eq!(read(0x802db558), (Granule::K16, 40, 2, false));
    }

    #[test]
    fn a_reserved_granule_is_none() {
        assert_eq!(Vtcr::read(0xc018), None);
    }
}
