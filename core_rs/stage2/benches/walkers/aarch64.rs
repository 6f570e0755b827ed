//! The crate `aarch64-paging`: a stage-2 table of its own, never active, so without TLB maintenance.

#![allow(unsafe_code)] // its tables are reached by pointers

use std::hint::black_box;
use std::ptr::NonNull;

use aarch64_paging::Mapping;
use aarch64_paging::descriptor::{PhysicalAddress, Stage2Attributes};
use aarch64_paging::paging::{Constraints, MemoryRegion, PageTable, Stage2, Translation};

use crate::guest::{BASE, PA, PAGE, PAGES, Subject};

const ROOT_LEVEL: usize = 1;

/// Tables of the heap, kept for use again; a physical address is a virtual one.
#[derive(Default)]
struct Heap {
    kept: Vec<NonNull<PageTable<Stage2Attributes>>>,
}

impl Translation<Stage2Attributes> for Heap {
    fn allocate_table(&mut self) -> (NonNull<PageTable<Stage2Attributes>>, PhysicalAddress) {
        let table = self.kept.pop().map_or_else(PageTable::new, |table| {
            // SAFETY: `deallocate_table` gave it back, so nobody else has it; all zeroes is an empty table.
            unsafe { table.write_bytes(0, 1) };
            table
        });
        (table, PhysicalAddress(table.addr().get()))
    }

    unsafe fn deallocate_table(&mut self, table: NonNull<PageTable<Stage2Attributes>>) {
        self.kept.push(table);
    }

    fn physical_to_virtual(&self, pa: PhysicalAddress) -> NonNull<PageTable<Stage2Attributes>> {
        NonNull::new(std::ptr::with_exposed_provenance_mut(pa.0)).expect("a table has an address")
    }
}

pub(crate) struct Paging(Mapping<Heap, Stage2>);

fn flags() -> Stage2Attributes {
    Stage2Attributes::VALID
        | Stage2Attributes::MEMATTR_NORMAL_OUTER_WB
        | Stage2Attributes::MEMATTR_NORMAL_INNER_WB
        | Stage2Attributes::S2AP_ACCESS_RW
        | Stage2Attributes::SH_INNER
        | Stage2Attributes::ACCESS_FLAG
}

fn region(page: u64, pages: u64) -> MemoryRegion {
    MemoryRegion::new((BASE + page * PAGE) as usize, (BASE + (page + pages) * PAGE) as usize)
}

impl Paging {
    fn set(&mut self, page: u64, pages: u64, flags: Stage2Attributes) {
        let pa = PhysicalAddress((PA + page * PAGE) as usize);
        let constraints = Constraints::NO_CONTIGUOUS_HINT;
        self.0.map_range(&region(page, pages), pa, flags, constraints).expect("a range of the table");
    }
}

impl Subject for Paging {
    fn new() -> Self {
        Self(Mapping::new(Heap::default(), ROOT_LEVEL, Stage2))
    }

    fn clear(&mut self) {
        self.set(0, PAGES, Stage2Attributes::empty());
        self.0.compact_subtables();
    }

    fn map(&mut self, page: u64) {
        self.set(page, 1, flags());
    }

    fn map_range(&mut self) -> bool {
        self.set(0, PAGES, flags());
        true
    }

    fn look_up(&self, page: u64) {
        let mut found = 0;
        let see =
            &mut |_: &MemoryRegion, descriptor: &aarch64_paging::descriptor::Descriptor<_>, _: usize| {
                found = descriptor.output_address().0;
                Ok(())
            };
        self.0.walk_range(&region(page, 1), see).expect("in the table");
        black_box(found);
    }

    fn wrprotect(&mut self) -> bool {
        let protect =
            |_: &MemoryRegion, descriptor: &mut aarch64_paging::descriptor::UpdatableDescriptor<_>| {
                descriptor.modify_flags(Stage2Attributes::empty(), Stage2Attributes::S2AP_ACCESS_WO)
            };
        self.0.modify_range(&region(0, PAGES), &protect).expect("in the table");
        true
    }

    fn unmap(&mut self, page: u64) -> bool {
        self.set(page, 1, Stage2Attributes::empty());
        true
    }

    /// Dropping the mapping frees its tables; the heap is gone with it.
    fn destroy(&mut self) -> bool {
        *self = Self::new();
        true
    }
}
