//! The 64-bit descriptor (Arm ARM, D8.3): bits, addresses, attributes.

use crate::config::{Config, Granule};
use crate::errno::Errno;
use crate::geometry::LAST_LEVEL;
use crate::prot::Prot;

pub(crate) const VALID: u64 = 1;
/// Bit 1: table below the last level, page at it.
pub(crate) const TYPE: u64 = 1 << 1;
const MEMATTR_SHIFT: u32 = 2;
const MEMATTR: u64 = 0xf << MEMATTR_SHIFT;
pub(crate) const S2AP_R: u64 = 1 << 6;
pub(crate) const S2AP_W: u64 = 1 << 7;
const SH_INNER: u64 = 3 << 8;
pub(crate) const AF: u64 = 1 << 10;
const XN_SHIFT: u32 = 53;
pub(crate) const XN: u64 = 3 << XN_SHIFT;
pub(crate) const SW: u64 = 0xf << 55;
/// What `relax_perms` and a fault may change without break-before-make.
const PERMISSIONS: u64 = S2AP_R | S2AP_W | XN;

const ANNOTATION_TYPE_SHIFT: u32 = 60;
/// Break-before-make is under way: invalid, of annotation type 1.
pub(crate) const LOCKED: u64 = 1 << ANNOTATION_TYPE_SHIFT;

/// Whether the descriptor is valid.
#[inline]
pub const fn is_valid(desc: u64) -> bool {
    desc & VALID != 0
}

/// Whether the descriptor of `level` points to a table.
#[inline]
pub const fn is_table(desc: u64, level: i8) -> bool {
    level < LAST_LEVEL && desc & (VALID | TYPE) == (VALID | TYPE)
}

/// Whether break-before-make has the entry.
#[inline]
pub(crate) const fn is_locked(desc: u64) -> bool {
    desc == LOCKED
}

/// Whether the entry counts in its table page: every non-zero one does.
#[inline]
pub(crate) const fn is_counted(desc: u64) -> bool {
    desc != 0
}

/// Whether a map of `new` over `old` changes more than permissions.
#[inline]
pub(crate) const fn needs_update(old: u64, new: u64) -> bool {
    !is_valid(old) || (old ^ new) & !PERMISSIONS != 0
}

/// Whether code can run from the mapping, at any exception level.
#[inline]
pub(crate) const fn is_executable(desc: u64) -> bool {
    is_valid(desc) && (desc & XN) >> XN_SHIFT != 0b10
}

/// An invalid entry that carries `kind` and `value`; refuses what could not be told from something else.
pub(crate) fn annotation(kind: u8, value: u64) -> Result<u64, Errno> {
    let kind = u64::from(kind);
    if (2..=0xf).contains(&kind) && value & (VALID | 0xf << ANNOTATION_TYPE_SHIFT) == 0 {
        Ok(kind << ANNOTATION_TYPE_SHIFT | value)
    } else {
        Err(Errno::Inval)
    }
}

/// How addresses and memory types are encoded on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Bits of the descriptor that hold the address in place.
    address: u64,
    /// Where the address bits above those go, and how many there are: `(bit of address, bit of descriptor, mask)`.
    high: Option<(u32, u32, u64)>,
    shareability: u64,
    xnx: bool,
    normal: u64,
    normal_nc: u64,
    device: u64,
    /// The attributes of a new leaf by the low bits of its [`Prot`], without software bits; 0 where they do not go
    /// together.
    attributes_of: [u64; 64],
}

impl Encoding {
    pub(crate) fn of(config: &Config) -> Self {
        let page_shift = config.granule.page_shift();
        let lpa2 = config.lpa2 && config.granule != Granule::K64;
        let top = if lpa2 { 50 } else { 48 };
        let high = match config.granule {
            Granule::K64 => Some((48, 12, 0xf)),
            _ if lpa2 => Some((50, 8, 0x3)),
            _ => None,
        };
        let (normal, normal_nc, device) = match (config.fwb, config.as_s1) {
            (false, false) => (0xf, 0x5, 0x1),
            (true, false) => (0x6, 0x5, 0x1),
            (false, true) => (0xf, 0xf, 0xf),
            (true, true) => (0x7, 0x7, 0x7),
        };
        let mut encoding = Self {
            address: (1 << top) - (1 << page_shift),
            high,
            shareability: if lpa2 { 0 } else { SH_INNER },
            xnx: config.xnx,
            normal: normal << MEMATTR_SHIFT,
            normal_nc: normal_nc << MEMATTR_SHIFT,
            device: device << MEMATTR_SHIFT,
            attributes_of: [0; 64],
        };
        for bits in 0..64 {
            let attributes = encoding.attributes_for(Prot::from_bits_truncate(bits));
            encoding.attributes_of[bits as usize] = attributes.unwrap_or(0);
        }
        encoding
    }

    /// The address bits of a descriptor that points to `pa`.
    #[inline]
    pub const fn encode_pa(&self, pa: u64) -> u64 {
        let low = pa & self.address;
        match self.high {
            Some((from, to, mask)) => low | (pa >> from & mask) << to,
            None => low,
        }
    }

    /// The address that a descriptor points to.
    #[inline]
    pub const fn decode_pa(&self, desc: u64) -> u64 {
        let low = desc & self.address;
        match self.high {
            Some((from, to, mask)) => low | (desc >> to & mask) << from,
            None => low,
        }
    }

    /// The address that a table descriptor points to. Tables lie low: their addresses have no high bits.
    #[inline]
    pub(crate) const fn table_pa(&self, desc: u64) -> u64 {
        desc & self.address
    }

    /// The bits of a descriptor that are not address.
    pub const fn attributes(&self, desc: u64) -> u64 {
        let high = match self.high {
            Some((_, to, mask)) => mask << to,
            None => 0,
        };
        desc & !(self.address | high)
    }

    /// A table descriptor: the address and `0b11`.
    #[inline]
    pub(crate) const fn table(&self, pa: u64) -> u64 {
        self.encode_pa(pa) | VALID | TYPE
    }

    /// A leaf of `level`: a block, or a page at the last level. `attributes` are of [`Encoding::leaf_attributes`].
    #[inline]
    pub(crate) const fn leaf(&self, pa: u64, attributes: u64, level: i8) -> u64 {
        let kind = if level == LAST_LEVEL { VALID | TYPE } else { VALID };
        self.encode_pa(pa) | attributes | kind
    }

    /// The attributes of a new leaf, accessed already.
    #[inline]
    pub(crate) fn leaf_attributes(&self, prot: Prot) -> Result<u64, Errno> {
        match self.attributes_of[(prot.bits() & 63) as usize] {
            0 => Err(Errno::Inval),
            attributes => Ok(attributes | (prot & Prot::SW).bits()),
        }
    }

    fn attributes_for(&self, prot: Prot) -> Result<u64, Errno> {
        let device = prot.contains(Prot::DEVICE);
        let normal_nc = prot.contains(Prot::NORMAL_NC);
        if (device || normal_nc) && prot.intersects(Prot::X) || device && normal_nc {
            return Err(Errno::Inval);
        }
        let memory = match (device, normal_nc) {
            (true, _) => self.device,
            (_, true) => self.normal_nc,
            _ => self.normal,
        };
        let read = if prot.contains(Prot::R) { S2AP_R } else { 0 };
        let write = if prot.contains(Prot::W) { S2AP_W } else { 0 };
        Ok(memory | self.xn(prot)? | read | write | self.shareability | AF)
    }

    /// The execute-never field; EL1 and EL0 apart only with `FEAT_XNX`.
    pub(crate) fn xn(&self, prot: Prot) -> Result<u64, Errno> {
        let field = match (prot.contains(Prot::PX), prot.contains(Prot::UX)) {
            (true, true) => 0b00,
            (false, false) => 0b10,
            (false, true) if self.xnx => 0b01,
            (true, false) if self.xnx => 0b11,
            _ => return Err(Errno::Inval),
        };
        Ok(field << XN_SHIFT)
    }

    /// The permissions and software bits of a leaf: what `split` carries over.
    pub fn prot(&self, desc: u64) -> Prot {
        if !is_valid(desc) {
            return Prot::empty();
        }
        let mut prot = Prot::from_bits_truncate(desc & SW);
        prot.set(Prot::R, desc & S2AP_R != 0);
        prot.set(Prot::W, desc & S2AP_W != 0);
        let (px, ux) = execute(desc);
        prot.set(Prot::PX, px);
        prot.set(Prot::UX, ux);
        prot
    }

    /// The memory type of a leaf, `None` where the encoding has no name for it. As-stage-1 tables have one
    /// encoding for all three, and say `normal`.
    pub fn memory_type(&self, desc: u64) -> Option<&'static str> {
        let field = desc & MEMATTR;
        [(self.normal, "normal"), (self.normal_nc, "nc"), (self.device, "device")]
            .into_iter()
            .find_map(|(value, name)| (value == field).then_some(name))
    }

    /// Whether the mapping may leave lines in the data cache.
    #[inline]
    pub(crate) const fn is_cacheable(&self, desc: u64) -> bool {
        is_valid(desc) && desc & MEMATTR == self.normal
    }
}

/// Execute permission of a leaf at EL1 and at EL0.
pub const fn execute(desc: u64) -> (bool, bool) {
    match (desc & XN) >> XN_SHIFT {
        0b00 => (true, true),
        0b01 => (false, true),
        0b10 => (false, false),
        _ => (true, false),
    }
}

/// Read, write and access flag of a leaf.
pub const fn access(desc: u64) -> (bool, bool, bool) {
    (desc & S2AP_R != 0, desc & S2AP_W != 0, desc & AF != 0)
}
