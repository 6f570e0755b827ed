//! Levels, shifts and the root of a table (Arm ARM, D8.2; kvm-facts of the design: KVM concatenates up to
//! 16 tables at the start level and uses at least two levels).

use crate::config::{Config, ConfigError, Granule};

/// The last level of every table: its leaves are pages.
pub const LAST_LEVEL: i8 = 3;

/// Address bits that concatenation of root tables can save: 16 tables.
const CONCATENATION_BITS: u32 = 4;

/// The least IPA size that KVM offers.
const MIN_IPA_BITS: u32 = 32;

/// Shapes that are worth code of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The root at level 1, as with 40 IPA bits.
    ThreeLevelsOf4K,
    /// The root at level 0, as with 48 IPA bits.
    FourLevelsOf4K,
    Other,
}

/// The shape of a table.
///
/// ```
/// use stage2::{Config, Granule};
/// let geometry = Config::new(Granule::K4, 40).geometry()?;
/// assert_eq!((geometry.start_level(), geometry.root_pages()), (1, 2));
/// # Ok::<(), stage2::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    page_shift: u32,
    level_bits: u32,
    ipa_bits: u32,
    start_level: i8,
    start_shift: u32,
    shape: Shape,
    root_pages: usize,
    min_block_level: i8,
}

impl Geometry {
    pub(crate) fn of(config: &Config) -> Result<Self, ConfigError> {
        let page_shift = config.granule.page_shift();
        let own_bits = page_shift - 3;
        let level_bits = config.level_bits.unwrap_or(own_bits);
        if level_bits == 0 || level_bits > own_bits {
            return Err(ConfigError::LevelBits { value: level_bits, max: own_bits });
        }
        let (min, max, why) = ipa_limits(config, page_shift, level_bits);
        if !(min..=max).contains(&config.ipa_bits) {
            return Err(ConfigError::IpaBits { value: config.ipa_bits, min, max, why });
        }
        let mut geometry = Self {
            page_shift,
            level_bits,
            ipa_bits: config.ipa_bits,
            start_level: 0,
            start_shift: 0,
            shape: Shape::Other,
            root_pages: 1,
            min_block_level: config.granule.min_block_level(),
        };
        let greatest = geometry.greatest_start_level();
        geometry.start_level = config.start_level.unwrap_or(greatest);
        if !(0..=greatest).contains(&geometry.start_level) {
            return Err(ConfigError::StartLevel {
                value: geometry.start_level,
                ipa_bits: config.ipa_bits,
                min: 0,
                max: greatest,
            });
        }
        geometry.start_shift = geometry.level_shift(geometry.start_level);
        geometry.shape = match (page_shift, level_bits, geometry.start_level) {
            (12, 9, 1) => Shape::ThreeLevelsOf4K,
            (12, 9, 0) => Shape::FourLevelsOf4K,
            _ => Shape::Other,
        };
        let above = geometry.level_shift(geometry.start_level - 1);
        geometry.root_pages = 1 << config.ipa_bits.saturating_sub(above);
        Ok(geometry)
    }

    /// The level at which as few levels as possible are used: what KVM chooses.
    fn greatest_start_level(&self) -> i8 {
        let resolved = self.ipa_bits.saturating_sub(CONCATENATION_BITS + self.page_shift);
        let levels = resolved.div_ceil(self.level_bits).max(2);
        LAST_LEVEL + 1 - levels as i8
    }

    /// log2 of the bytes that one entry of `level` maps; `level` may be one above the root's.
    #[inline]
    pub const fn level_shift(&self, level: i8) -> u32 {
        self.page_shift + (LAST_LEVEL - level) as u32 * self.level_bits
    }

    /// Bytes that one entry of `level` maps.
    #[inline]
    pub const fn granule_size(&self, level: i8) -> u64 {
        1 << self.level_shift(level)
    }

    /// Whether a leaf of `level` is something KVM installs: a block or a page.
    #[inline]
    pub const fn leaf_allowed(&self, level: i8) -> bool {
        level >= self.min_block_level
    }

    /// The first level at which KVM installs blocks.
    pub const fn min_block_level(&self) -> i8 {
        self.min_block_level
    }

    /// Bytes of the step in which 7.3 destroys and unmaps: a block of the first level that has blocks.
    pub const fn step_bytes(&self) -> u64 {
        self.granule_size(self.min_block_level)
    }

    /// log2 of the page size.
    #[inline]
    pub const fn page_shift(&self) -> u32 {
        self.page_shift
    }

    /// Bytes of a page.
    #[inline]
    pub const fn page_size(&self) -> u64 {
        1 << self.page_shift
    }

    /// Address bits that one level resolves.
    #[inline]
    pub const fn level_bits(&self) -> u32 {
        self.level_bits
    }

    /// Entries of a table page.
    #[inline]
    pub const fn entries(&self) -> usize {
        1 << self.level_bits
    }

    /// Size of the guest's physical address space, in bits.
    #[inline]
    pub const fn ipa_bits(&self) -> u32 {
        self.ipa_bits
    }

    /// The level of the root.
    #[inline]
    pub const fn start_level(&self) -> i8 {
        self.start_level
    }

    /// log2 of the bytes that one entry of the root maps.
    #[inline]
    pub(crate) const fn start_shift(&self) -> u32 {
        self.start_shift
    }

    #[inline]
    pub(crate) const fn shape(&self) -> Shape {
        self.shape
    }

    /// log2 of the bytes that a last-level table maps.
    #[inline]
    pub(crate) const fn last_table_shift(&self) -> u32 {
        self.page_shift + self.level_bits
    }

    /// Table pages that form the root, contiguous.
    #[inline]
    pub const fn root_pages(&self) -> usize {
        self.root_pages
    }

    /// Which root page resolves `ipa`.
    #[inline]
    pub(crate) const fn root_index(&self, ipa: u64) -> usize {
        (ipa >> self.level_shift(self.start_level - 1)) as usize
    }

    /// Which entry of a table page of `level` resolves `ipa`.
    #[inline]
    pub(crate) const fn entry_index(&self, ipa: u64, level: i8) -> usize {
        (ipa >> self.level_shift(level)) as usize & (self.entries() - 1)
    }

    /// The page that holds `address`.
    #[inline]
    pub(crate) const fn page_down(&self, address: u64) -> u64 {
        address & !(self.page_size() - 1)
    }

    /// The end of the page that holds `address - 1`; wraps as the C code does.
    #[inline]
    pub(crate) const fn page_up(&self, address: u64) -> u64 {
        self.page_down(address.wrapping_add(self.page_size() - 1))
    }
}

/// Least and greatest IPA size, and which rule says so.
fn ipa_limits(config: &Config, page_shift: u32, level_bits: u32) -> (u32, u32, &'static str) {
    // Four levels from the last one up, the root concatenated.
    let reach = page_shift + 4 * level_bits + CONCATENATION_BITS;
    if config.level_bits.is_some_and(|bits| bits != page_shift - 3) {
        return (page_shift + 1, reach.min(48), "a small geometry: at most four levels, 16 root tables");
    }
    match (config.granule, config.lpa2) {
        (Granule::K64, _) => (MIN_IPA_BITS, 52, "64K pages"),
        (Granule::K4, true) => (MIN_IPA_BITS, 52, "4K pages with LPA2"),
        (Granule::K16, true) => (MIN_IPA_BITS, 52, "16K pages with LPA2"),
        (Granule::K4, false) => (MIN_IPA_BITS, 48, "4K pages without LPA2"),
        (Granule::K16, false) => (MIN_IPA_BITS, 48, "16K pages without LPA2"),
    }
}
