//! The guest's memory: where it lies, by which leaves it is mapped, and what its frames are.
//!
//! Explored shapes are small, and each guest page is an object that is freed on its own. A guest at full size is one
//! object: its pages come and go together, so that no million of objects stands beside the table that is measured.

use runtime::Runtime;
use stage2::Config;

use crate::heap::{Memory, Ptr};
use crate::scenario::SetUp;
use crate::world::World;

/// Page frames are numbered two apart, so that one can begin a block of two.
const PFN_SHIFT: u32 = 1;

pub(crate) struct Guest {
    /// The tables.
    pub(crate) config: Config,
    /// Pages of the address space.
    pub(crate) space: u64,
    /// The first page of the slot.
    pub(crate) first: u64,
    /// Pages of the slot.
    pub(crate) pages: u64,
    /// Pages that a leaf maps in the beginning.
    pub(crate) leaf: u64,
    frames: Frames,
}

/// What the frames of guest pages are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frames {
    /// Each an object of its own, whose frame is its pointer's.
    Each,
    /// All together one object; guest page n lies at frame n.
    Together,
}

impl Guest {
    /// The guest of a scenario's set-up.
    pub(crate) fn small(set_up: &SetUp) -> Self {
        let config = Config { walker: set_up.walker, ..set_up.shape.config() };
        let leaf = if set_up.block { set_up.pages } else { 1 };
        let (first, pages) = (set_up.first_page(), set_up.pages);
        Self { config, space: set_up.shape.pages(), first, pages, leaf, frames: Frames::Each }
    }

    /// A guest of `pages` pages from address 0 up.
    pub(crate) fn large(config: Config, pages: u64) -> Self {
        let space = 1 << (config.ipa_bits - config.granule.page_shift());
        Self { config, space, first: 0, pages, leaf: 1, frames: Frames::Together }
    }

    /// Words of the page tables of an address space.
    pub(crate) fn ptes(&self) -> usize {
        match self.frames {
            Frames::Each => self.space as usize,
            Frames::Together => 1,
        }
    }

    /// The word that is about a page.
    pub(crate) fn pte(&self, page: u64) -> usize {
        match self.frames {
            Frames::Each => page as usize,
            Frames::Together => 0,
        }
    }

    /// The pages that stand for all when somebody looks at each: one for each word.
    pub(crate) fn looked_at(&self) -> std::ops::Range<u64> {
        match self.frames {
            Frames::Each => self.first..self.first + self.pages,
            Frames::Together => self.first..self.first + 1,
        }
    }

    /// The frame of a page whose word leads to `object`.
    pub(crate) fn frame(&self, object: Ptr, page: u64) -> u64 {
        match self.frames {
            Frames::Each => object << PFN_SHIFT,
            Frames::Together => page,
        }
    }
}

impl<R: Runtime> World<R> {
    /// The memory of a guest page, or of all where they come and go together.
    pub(crate) fn guest_page(&self, site: runtime::Site) -> Ptr {
        // Its index counts frames of 4 KiB, whatever the granule.
        let index_shift = PFN_SHIFT + self.page_shift() - 12;
        self.heap.alloc_indexed("guest page", 0, Memory::Kmalloc, index_shift, site)
    }

    /// Whether the object of a frame was freed. A look.
    pub(crate) fn frame_is_freed(&self, pfn: u64) -> bool {
        match self.guest.frames {
            Frames::Each => self.heap.is_freed(pfn >> PFN_SHIFT),
            Frames::Together => self.heap.any_is_freed("guest page"),
        }
    }
}
