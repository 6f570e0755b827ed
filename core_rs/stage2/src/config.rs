//! What a table is asked to be: granule, sizes, and the features of the machine it lives on.

use std::fmt;
use std::str::FromStr;

use crate::arena;
use crate::geometry::Geometry;

/// The translation granule: the size of a page and of a table page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Granule {
    /// 4 KiB.
    K4,
    /// 16 KiB.
    K16,
    /// 64 KiB.
    K64,
}

impl Granule {
    /// All granules, smallest first.
    pub const ALL: [Self; 3] = [Self::K4, Self::K16, Self::K64];

    /// log2 of the page size in bytes: 12, 14 or 16.
    pub const fn page_shift(self) -> u32 {
        match self {
            Self::K4 => 12,
            Self::K16 => 14,
            Self::K64 => 16,
        }
    }

    /// The lowest-numbered level at which KVM installs a block.
    pub(crate) const fn min_block_level(self) -> i8 {
        match self {
            Self::K4 => 1,
            Self::K16 | Self::K64 => 2,
        }
    }
}

impl fmt::Display for Granule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::K4 => "4K",
            Self::K16 => "16K",
            Self::K64 => "64K",
        })
    }
}

impl FromStr for Granule {
    type Err = ConfigError;

    /// Reads `4K`, `16K` or `64K`, in either case.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::ALL
            .into_iter()
            .find(|granule| granule.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| ConfigError::Granule(text.to_owned()))
    }
}

/// How the table's entries are visited. Both leave the same table behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WalkerKind {
    /// Entry by entry, as the kernel does: the subject of study.
    #[default]
    Upstream,
    /// As a library can that knows its own structure: see the module `fast`.
    Fast,
}

impl WalkerKind {
    /// Both walkers.
    pub const ALL: [Self; 2] = [Self::Upstream, Self::Fast];
}

impl fmt::Display for WalkerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upstream => "upstream",
            Self::Fast => "fast",
        })
    }
}

impl FromStr for WalkerKind {
    type Err = ConfigError;

    /// Reads `upstream` or `fast`.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let named = |walker: &Self| walker.to_string() == text;
        Self::ALL.into_iter().find(named).ok_or_else(|| ConfigError::Walker(text.to_owned()))
    }
}

/// The request for a table. [`Config::geometry`] says whether it can be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // each is a feature bit of the architecture
pub struct Config {
    /// The translation granule.
    pub granule: Granule,
    /// Size of the guest's physical address space, in bits.
    pub ipa_bits: u32,
    /// The level of the root; `None` lets KVM's rule choose.
    pub start_level: Option<i8>,
    /// Address bits that one level resolves; `None` is the granule's own 9, 11 or 13. Smaller tables
    /// are for exploration only: no hardware walks them.
    pub level_bits: Option<u32>,
    /// `FEAT_S2FWB`: the memory type overrides stage 1, and caches need no maintenance.
    pub fwb: bool,
    /// `FEAT_XNX`: execute permission apart for EL1 and EL0.
    pub xnx: bool,
    /// `FEAT_TLBIRANGE`: invalidation by range.
    pub tlb_range: bool,
    /// `FEAT_LPA2` in use (`VTCR_EL2.DS`): 52-bit addresses with 4K and 16K.
    pub lpa2: bool,
    /// Memory attributes as stage 1 has them (`KVM_PGTABLE_S2_AS_S1`).
    pub as_s1: bool,
    /// Map pages only, never blocks.
    pub force_pte: bool,
    /// Log the maintenance of caches too.
    pub cmo: bool,
    /// How the table is walked.
    pub walker: WalkerKind,
}

impl Default for Config {
    fn default() -> Self {
        Self::new(Granule::K4, 40)
    }
}

impl Config {
    /// A table as a current machine would have it, FWB, XNX and TLB range invalidation, walked as the kernel does.
    pub const fn new(granule: Granule, ipa_bits: u32) -> Self {
        Self {
            granule,
            ipa_bits,
            start_level: None,
            level_bits: None,
            fwb: true,
            xnx: true,
            tlb_range: true,
            lpa2: false,
            as_s1: false,
            force_pte: false,
            cmo: false,
            walker: WalkerKind::Upstream,
        }
    }

    /// The levels, sizes and root of the table, or why there can be none.
    pub fn geometry(&self) -> Result<Geometry, ConfigError> {
        Geometry::of(self)
    }

    /// Table pages that one table may have at most.
    pub fn page_limit(&self) -> Result<u64, ConfigError> {
        Ok(u64::from(arena::capacity(self.geometry()?.level_bits())))
    }
}

/// Why a table cannot be as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a granule of the architecture.
    #[error("granule {0:?} is not one of 4K, 16K, 64K")]
    Granule(String),
    /// Not a walker.
    #[error("walker {0:?} is not one of upstream, fast")]
    Walker(String),
    /// An IPA size outside what the granule and the features allow.
    #[error("ipa_bits {value} is outside {min} to {max} ({why})")]
    IpaBits {
        /// What was asked.
        value: u32,
        /// The least that would be right.
        min: u32,
        /// The most that would be right.
        max: u32,
        /// Which rule sets the limits.
        why: &'static str,
    },
    /// A start level that the IPA size cannot have.
    #[error("start_level {value} does not fit {ipa_bits} IPA bits: {min} to {max} would")]
    StartLevel {
        /// What was asked.
        value: i8,
        /// The IPA size it was asked for.
        ipa_bits: u32,
        /// The least level that would be right.
        min: i8,
        /// The greatest level that would be right.
        max: i8,
    },
    /// Level bits outside what a table page can hold.
    #[error("level_bits {value} is outside 1 to {max}, the bits one level of this granule resolves")]
    LevelBits {
        /// What was asked.
        value: u32,
        /// The granule's own.
        max: u32,
    },
}
