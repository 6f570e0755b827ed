//! The crate `x86_64`: a four-level table of the other architecture, never active.

#![allow(unsafe_code)] // its tables are reached by pointers

use std::hint::black_box;

use x86_64::structures::paging::mapper::{MappedPageTable, Mapper as _, PageTableFrameMapping};
use x86_64::structures::paging::page::Size4KiB;
use x86_64::structures::paging::{FrameAllocator, Page, PageTable, PageTableFlags, PhysFrame};
use x86_64::{PhysAddr, VirtAddr};

use crate::guest::{BASE, PA, PAGE, PAGES, Subject};

/// A root, a table of the third level, and one each below it for a guest below 4 GiB.
const TABLES: usize = 1 + 1 + 4 + 256;

/// Tables side by side; a physical address is an offset.
#[derive(Clone, Copy)]
struct Tables(*mut PageTable);

// SAFETY: the pointer is that of `TABLES` tables that live as long as the process.
unsafe impl PageTableFrameMapping for Tables {
    fn frame_to_pointer(&self, frame: PhysFrame) -> *mut PageTable {
        self.0.wrapping_add((frame.start_address().as_u64() / PAGE) as usize)
    }
}

struct Frames(u64);

// SAFETY: each number is handed out once.
unsafe impl FrameAllocator<Size4KiB> for Frames {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let frame = self.0;
        self.0 += 1;
        (frame < TABLES as u64).then(|| PhysFrame::containing_address(PhysAddr::new(frame * PAGE)))
    }
}

pub(crate) struct Mapper {
    table: MappedPageTable<'static, Tables>,
    frames: Frames,
}

fn page_of(page: u64) -> Page {
    Page::containing_address(VirtAddr::new(BASE + page * PAGE))
}

impl Subject for Mapper {
    fn new() -> Self {
        let tables: Vec<PageTable> = (0..TABLES).map(|_| PageTable::new()).collect();
        let tables = Tables(tables.leak().as_mut_ptr());
        // SAFETY: the first table is the root, empty, and used by nobody else: frames begin at 1.
        let table = unsafe { MappedPageTable::new(&mut *tables.0, tables) };
        Self { table, frames: Frames(1) }
    }

    /// The tables stay, as this crate frees none by itself.
    fn clear(&mut self) {
        (0..PAGES).for_each(|page| {
            self.unmap(page);
        });
    }

    fn map(&mut self, page: u64) {
        let frame = PhysFrame::containing_address(PhysAddr::new(PA + page * PAGE));
        let flags = PageTableFlags::PRESENT | PageTableFlags::WRITABLE;
        // SAFETY: the table is never active, so the mapping aliases nothing.
        let mapped = unsafe { self.table.map_to(page_of(page), frame, flags, &mut self.frames) };
        mapped.expect("an empty page").ignore();
    }

    fn look_up(&self, page: u64) {
        black_box(self.table.translate_page(page_of(page)).expect("a mapped page"));
    }

    fn unmap(&mut self, page: u64) -> bool {
        if let Ok((_, flush)) = self.table.unmap(page_of(page)) {
            flush.ignore();
        }
        true
    }
}
