//! The guest's memory: where it lies, by which leaves it is mapped, and what its frames are.
//!
//! Explored shapes are small, and each guest page is an object that is freed on its own. A guest at full size is one
//! object: its pages come and go together, so that no million of objects stands beside the table that is measured.

use runtime::Runtime;
use stage2::{Config, Env, NoLog, Prot, Table, Walk};

use crate::heap::{Memory, Ptr};
use crate::mm::Mm;
use crate::scenario::SetUp;
use crate::world::{VmId, World};

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
    leaf: u64,
    frames: Frames,
}

/// What the frames of guest pages are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frames {
    /// Each an object of its own, whose frame is its pointer's.
    Each,
    /// All together one object; guest page n lies one leaf after frame n, so that no larger leaf could map it.
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

    /// A guest of `pages` pages from address 0 up, in leaves of `leaf` pages.
    pub(crate) fn large(config: Config, pages: u64, leaf: u64) -> Self {
        let space = 1 << (config.ipa_bits - config.granule.page_shift());
        Self { config, space, first: 0, pages, leaf, frames: Frames::Together }
    }

    /// Whether the slot of a VM is mapped in the beginning, where the set-up has it so.
    pub(crate) fn is_mapped(&self, vm: VmId) -> bool {
        self.frames == Frames::Each || vm.0 == 0
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
            Frames::Together => page + self.leaf,
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

    /// Maps the slot of the set-up into a table that is empty, before anything runs.
    pub(crate) fn map_slot(&self, mm: &Mm<R>, table: &Table<R>) {
        let guest = &self.guest;
        let prot = Prot::R | Prot::W | Prot::X;
        let map = |page: u64, pages: u64, pfn: u64| {
            let (ipa, size, pa) = (self.ipa(page), self.ipa(pages), self.ipa(pfn));
            let mapped = table.map(&mut Env::<NoLog>::default(), Walk::Exclusive, ipa, size, pa, prot);
            mapped.expect("an empty table takes a mapping");
        };
        match guest.frames {
            Frames::Each => {
                for page in (guest.first..guest.first + guest.pages).step_by(guest.leaf as usize) {
                    map(page, guest.leaf, self.fault_in(mm, page));
                }
            }
            Frames::Together => map(guest.first, guest.pages, self.fault_in(mm, guest.first)),
        }
    }
}
