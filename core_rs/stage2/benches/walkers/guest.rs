//! The guest that every subject maps, and what a subject is.

pub(crate) const PAGE: u64 = 4096;
/// 256 MiB.
pub(crate) const PAGES: u64 = 65536;
/// Pages of the large guest, 4 GiB.
pub(crate) const LARGE: u64 = 1 << 20;
/// Where the guest's memory begins.
pub(crate) const BASE: u64 = 0x8000_0000;
/// Where it lies: not aligned to a block beside `BASE`, so that a ranged map installs pages.
pub(crate) const PA: u64 = 0x1_0000_1000;

/// The pages of a guest, in order and in a random order that is the same for every subject.
pub(crate) struct Guest {
    random: Vec<u32>,
}

impl Guest {
    pub(crate) fn new() -> Self {
        Self::of(PAGES)
    }

    pub(crate) fn of(pages: u64) -> Self {
        let mut random: Vec<u32> = (0..pages as u32).collect();
        fastrand::Rng::with_seed(7).shuffle(&mut random);
        Self { random }
    }

    pub(crate) fn pages(&self) -> impl Iterator<Item = u64> {
        0..self.random.len() as u64
    }

    pub(crate) fn random(&self) -> impl Iterator<Item = u64> {
        self.random.iter().map(|&page| u64::from(page))
    }
}

/// A page table that can be timed. What a subject cannot do answers false.
pub(crate) trait Subject {
    fn new() -> Self;
    /// Removes all mappings.
    fn clear(&mut self);
    /// Maps a page that is not mapped, readable and writable.
    fn map(&mut self, page: u64);
    /// Maps all pages by one call.
    fn map_range(&mut self) -> bool {
        false
    }
    /// Looks a mapped page up.
    fn look_up(&self, page: u64);
    /// Takes write permission from all pages by one call.
    fn wrprotect(&mut self) -> bool {
        false
    }
    /// Sets the access flag of a page by compare-and-exchange, or takes it away.
    fn mkyoung(&mut self, page: u64) -> bool {
        let _ = page;
        false
    }
    /// Unmaps a page.
    fn unmap(&mut self, page: u64) -> bool {
        let _ = page;
        false
    }
    /// Frees all tables; nothing but `revive` may follow.
    fn destroy(&mut self) -> bool {
        false
    }
    fn revive(&mut self) {}
}
