//! The way down to addresses, without a visit to anything on it.

#![allow(clippy::inline_always)] // only inlined are the sizes constants; docs/performance.md has what that gives

use runtime::{Access, Runtime, Word, site};

use crate::descriptor::{TYPE, VALID};
use crate::errno::Errno;
use crate::geometry::{LAST_LEVEL, Shape};
use crate::inspect::Leaf;
use crate::table::Inner;

/// Addresses whose last-level entries are found before the first is read, so that the reads overlap.
const GROUP: usize = 32;

/// Gives the sizes of a descent to the compiler as constants where its shape is usual: it needs half of the instructions then.
macro_rules! usual {
    ($descent:expr, |$name:ident| $work:expr) => {{
        let given: Descent<'_> = $descent;
        match given.shape {
            Shape::ThreeLevelsOf4K => {
                let $name = Descent { page_shift: 12, level_bits: 9, start_shift: 30, ..given };
                $work
            }
            Shape::FourLevelsOf4K => {
                let $name = Descent { page_shift: 12, level_bits: 9, start_shift: 39, ..given };
                $work
            }
            Shape::Other => {
                let $name = given;
                $work
            }
        }
    }};
}

impl<R: Runtime> Inner<R> {
    /// The last descriptor on the way to `ipa`.
    #[inline]
    pub(crate) fn find(&self, ipa: u64) -> Result<Leaf, Errno> {
        let descent = Descent::into(self).ok_or(Errno::Inval)?;
        usual!(descent, |descent| descent.leaf::<R>(ipa))
    }

    /// [`Inner::find`] for each address, in groups; `see` gets each address and what was found.
    #[inline]
    pub(crate) fn find_many(&self, ipas: &[u64], see: impl FnMut(u64, Leaf)) -> Result<(), (usize, Errno)> {
        let descent = Descent::into(self).ok_or((0, Errno::Inval))?;
        usual!(descent, |descent| descent.leaves::<R>(ipas, see))
    }
}

/// What a way down needs, at hand: the loads on it acquire, so the compiler keeps nothing of the table itself in
/// registers across them.
#[derive(Clone, Copy)]
pub(super) struct Descent<'a> {
    words: &'a [Word],
    /// The number of the root's first word.
    root: usize,
    ipa_bits: u32,
    /// log2 of the bytes that an entry of the root maps.
    start_shift: u32,
    page_shift: u32,
    level_bits: u32,
    shape: Shape,
}

/// Where a way ended.
struct End {
    /// The number of the entry's word.
    word: usize,
    /// log2 of the bytes that it maps.
    shift: u32,
    /// What it holds, if it was read.
    desc: Option<u64>,
}

impl<'a> Descent<'a> {
    /// A way into the table, if it has a root.
    #[inline(always)]
    pub(super) fn into<R: Runtime>(table: &'a Inner<R>) -> Option<Self> {
        let geometry = &table.geometry;
        let root = table.root()?;
        Some(Self {
            words: table.arena.all_words(),
            root: (root.0 as usize) << geometry.level_bits(),
            ipa_bits: geometry.ipa_bits(),
            start_shift: geometry.start_shift(),
            page_shift: geometry.page_shift(),
            level_bits: geometry.level_bits(),
            shape: geometry.shape(),
        })
    }

    /// The number of the word that maps `ipa` in a table one level above the last, if the way leads to one.
    pub(super) fn table_above_last<R: Runtime>(self, ipa: u64) -> Option<usize> {
        self.end::<R>(ipa, self.page_shift + self.level_bits)
            .filter(|end| end.desc.is_none())
            .map(|end| end.word)
    }

    #[inline(always)]
    fn leaf<R: Runtime>(self, ipa: u64) -> Result<Leaf, Errno> {
        self.end::<R>(ipa, self.page_shift).map(|end| self.read::<R>(&end)).ok_or(Errno::Range)
    }

    #[inline(always)]
    fn leaves<R: Runtime>(self, ipas: &[u64], mut see: impl FnMut(u64, Leaf)) -> Result<(), (usize, Errno)> {
        for (group, ipas) in ipas.chunks(GROUP).enumerate() {
            let mut ends = [const { End { word: 0, shift: 0, desc: None } }; GROUP];
            let mut outside = None;
            for (index, (&ipa, end)) in ipas.iter().zip(&mut ends).enumerate() {
                let Some(found) = self.end::<R>(ipa, self.page_shift) else {
                    outside = Some(index);
                    break;
                };
                *end = found;
            }
            for (&ipa, end) in ipas.iter().zip(&ends).take(outside.unwrap_or(GROUP)) {
                see(ipa, self.read::<R>(end));
            }
            if let Some(index) = outside {
                return Err((group * GROUP + index, Errno::Range));
            }
        }
        Ok(())
    }

    /// Goes down to the entry for `ipa` that maps `1 << last` bytes, or to where it could; that entry is not read yet.
    /// None for an address outside the IPA space.
    #[inline(always)]
    fn end<R: Runtime>(self, ipa: u64, last: u32) -> Option<End> {
        if ipa >> self.ipa_bits != 0 {
            return None;
        }
        let mask = (1_usize << self.level_bits) - 1;
        // Tables lie low, below the first 2^48 bytes.
        let address = (1_u64 << 48) - (1 << self.page_shift);
        let mut shift = self.start_shift;
        let mut word = self.root + (ipa >> shift) as usize; // the root's tables are contiguous
        while shift > last {
            let desc = R::load(&self.words[word], Access::Marked, site!("kvm_pgtable_visit:read"));
            if desc & (VALID | TYPE) != VALID | TYPE {
                return Some(End { word, shift, desc: Some(desc) });
            }
            shift -= self.level_bits;
            let table = ((desc & address) >> (self.page_shift - self.level_bits)) as usize;
            word = table | (ipa >> shift) as usize & mask;
        }
        Some(End { word, shift, desc: None })
    }

    #[inline(always)]
    fn read<R: Runtime>(self, end: &End) -> Leaf {
        let load = || R::load(&self.words[end.word], Access::Marked, site!("kvm_pgtable_visit:read"));
        let above = (end.shift - self.page_shift) / self.level_bits;
        Leaf { level: LAST_LEVEL - above as i8, desc: end.desc.unwrap_or_else(load) }
    }
}
