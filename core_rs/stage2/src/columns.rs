//! All leaves of a table as columns, laid out as Arrow lays them out: what a data frame is made of, without a copy.

use std::sync::atomic::{AtomicBool, Ordering};

use runtime::{Access, Runtime, site};

use crate::arena::PageId;
use crate::descriptor::{AF, S2AP_R, S2AP_W, SW, execute, is_table, is_valid};
use crate::geometry::LAST_LEVEL;
use crate::table::Table;

/// Leaves and annotations in the order of addresses, a column a field, all of one length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaves {
    /// The first address that it maps.
    pub ipa: Vec<u64>,
    /// How much it maps.
    pub size_bytes: Vec<u64>,
    /// The level of its descriptor.
    pub level: Vec<i8>,
    /// `page`, `block` or `annotation`.
    pub kind: Names,
    /// Whether it is a leaf; else an annotation.
    pub valid: Bits,
    /// The output address; 0 for an annotation.
    pub pa: Vec<u64>,
    /// Readable, writable, executable at EL1, executable at EL0, accessed; all false for an annotation.
    pub flags: [Bits; 5],
    /// The four software bits; 0 for an annotation.
    pub software: Vec<u8>,
    /// `normal`, `nc` or `device`; empty where `memtype_known` is false.
    pub memtype: Names,
    /// Whether the encoding has a name for the memory type.
    pub memtype_known: Bits,
    /// The raw descriptor.
    pub desc: Vec<u64>,
}

/// Bits, the first of each word the lowest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits(pub Vec<u64>);

/// Short texts: text `n` is `bytes[offsets[n]..offsets[n + 1]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Where each begins, and where the last ends.
    pub offsets: Vec<i32>,
    /// All of them, one after the other.
    pub bytes: Vec<u8>,
}

impl<R: Runtime> Table<R> {
    /// Every leaf and annotation. The answer is incomplete if `stop` becomes true meanwhile. For a table at rest, or
    /// one that a lock keeps at rest.
    ///
    /// ```
    /// use runtime::native::Native;
    /// use stage2::{Config, Env, NoLog, Prot, Table, Walk};
    ///
    /// let table = Table::<Native>::new(Config::default())?;
    /// table.map(&mut Env::new(NoLog), Walk::Exclusive, 0x1000, 0x2000, 0x8000, Prot::R).unwrap();
    /// let leaves = table.leaves(&false.into());
    /// assert_eq!((leaves.ipa, leaves.pa), (vec![0x1000, 0x2000], vec![0x8000, 0x9000]));
    /// assert_eq!(leaves.kind.bytes, b"pagepage");
    /// # Ok::<(), stage2::ConfigError>(())
    /// ```
    pub fn leaves(&self, stop: &AtomicBool) -> Leaves {
        let mut found = Raw::default();
        if let Some(root) = self.root() {
            let (geometry, level) = (self.geometry(), self.geometry().start_level());
            let span = geometry.granule_size(level - 1);
            for index in 0..geometry.root_pages() as u64 {
                self.collect(&mut found, root.plus(index as u32), level, index * span, stop);
            }
        }
        self.decode(found)
    }

    fn collect(&self, found: &mut Raw, page: PageId, level: i8, first: u64, stop: &AtomicBool) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let size = self.geometry().granule_size(level);
        for (word, index) in self.words(page).iter().zip(0..) {
            let desc = R::load(word, Access::Marked, site!("inspect:read"));
            if desc == 0 {
                continue;
            }
            let ipa = first + index * size;
            if is_table(desc, level) {
                self.collect(found, self.child(desc), level + 1, ipa, stop);
            } else {
                found.ipa.push(ipa);
                found.level.push(level);
                found.desc.push(desc);
            }
        }
    }

    fn decode(&self, Raw { ipa, level, desc }: Raw) -> Leaves {
        let (geometry, encoding) = (self.geometry(), self.encoding());
        let flag = |of: fn(u64) -> bool| Bits::of(&desc, |desc| is_valid(desc) && of(desc));
        let flags = [
            flag(|desc| desc & S2AP_R != 0),
            flag(|desc| desc & S2AP_W != 0),
            flag(|desc| execute(desc).0),
            flag(|desc| execute(desc).1),
            flag(|desc| desc & AF != 0),
        ];
        let kind = |(&desc, &level): (&u64, &i8)| match level {
            _ if !is_valid(desc) => "annotation",
            LAST_LEVEL => "page",
            _ => "block",
        };
        let memory_type = |desc: u64| if is_valid(desc) { encoding.memory_type(desc) } else { None };
        let software = |desc: u64| ((desc & SW) >> SW.trailing_zeros()) as u8;
        let valid_or = |desc: u64, value: u64| if is_valid(desc) { value } else { 0 };
        Leaves {
            size_bytes: level.iter().map(|&level| geometry.granule_size(level)).collect(),
            kind: Names::of(desc.iter().zip(&level).map(kind)),
            valid: Bits::of(&desc, is_valid),
            pa: desc.iter().map(|&desc| valid_or(desc, encoding.decode_pa(desc))).collect(),
            flags,
            software: desc.iter().map(|&desc| valid_or(desc, u64::from(software(desc))) as u8).collect(),
            memtype: Names::of(desc.iter().map(|&desc| memory_type(desc).unwrap_or(""))),
            memtype_known: Bits::of(&desc, |desc| memory_type(desc).is_some()),
            ipa,
            level,
            desc,
        }
    }
}

/// What a walk over the leaves collects.
#[derive(Default)]
struct Raw {
    ipa: Vec<u64>,
    level: Vec<i8>,
    desc: Vec<u64>,
}

impl Bits {
    /// What `bit` says of each value.
    pub fn of(values: &[u64], bit: impl Fn(u64) -> bool) -> Self {
        let word = |values: &[u64]| {
            values.iter().enumerate().fold(0, |word, (place, &value)| word | u64::from(bit(value)) << place)
        };
        Self(values.chunks(64).map(word).collect())
    }
}

impl Names {
    fn of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let mut all = Self { offsets: Vec::with_capacity(names.len() + 1), bytes: Vec::new() };
        all.offsets.push(0);
        all.bytes.reserve(names.len() * 6);
        for name in names {
            all.bytes.extend_from_slice(name.as_bytes());
            all.offsets.push(all.bytes.len() as i32);
        }
        all
    }
}
