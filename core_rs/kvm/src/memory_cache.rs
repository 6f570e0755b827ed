//! `struct kvm_mmu_memory_cache` as the split cache: an array of page pointers, filled before an eager split and
//! used under `mmu_lock`. Its documented owner is `slots_lock`; flush frees it without.
//!
//! Freeing pops and frees each page, frees the array, then forgets it: not safe against itself. `nobjs` is read
//! once for the test and the decrement of a turn, as compilers compile it.

use runtime::{Access, Runtime, site};

use crate::heap::{Memory, Ptr};
use crate::world::World;

/// Words of a cache, from the place where it is embedded.
pub(crate) const NOBJS: usize = 0;
pub(crate) const OBJECTS: usize = 1;
pub(crate) const CAPACITY: usize = 2;
pub(crate) const CACHE_WORDS: usize = 3;

const NAME: &str = "kvm.arch.split_page_cache.objects";

/// Where a cache is embedded.
#[derive(Clone, Copy)]
pub(crate) struct CacheRef {
    pub(crate) object: Ptr,
    pub(crate) base: usize,
}

/// What was taken out of a cache.
pub(crate) struct Claimed {
    nobjs: u64,
    objects: Ptr,
}

impl<R: Runtime> World<R> {
    /// `kvm_mmu_free_memory_cache`.
    pub(crate) fn kvm_mmu_free_memory_cache(&self, cache: CacheRef) {
        let _inside = R::inside("kvm_mmu_free_memory_cache");
        let (heap, plain) = (&self.heap, Access::Plain);
        let CacheRef { object, base } = cache;
        loop {
            let nobjs = heap.load(object, base + NOBJS, plain, site!("kvm_mmu_free_memory_cache:nobjs"));
            if nobjs == 0 {
                break;
            }
            heap.store(object, base + NOBJS, nobjs - 1, plain, site!("kvm_mmu_free_memory_cache:pop"));
            let objects =
                heap.load(object, base + OBJECTS, plain, site!("kvm_mmu_free_memory_cache:objects"));
            let place = nobjs as usize - 1;
            let page = heap.load(objects, place, plain, site!("kvm_mmu_free_memory_cache:page"));
            heap.free(page, site!("kvm_mmu_free_memory_cache:free_page"));
        }
        let objects = heap.load(object, base + OBJECTS, plain, site!("kvm_mmu_free_memory_cache:objects"));
        heap.free(objects, site!("kvm_mmu_free_memory_cache:kvfree"));
        heap.store(object, base + OBJECTS, 0, plain, site!("kvm_mmu_free_memory_cache:forget"));
        heap.store(object, base + CAPACITY, 0, plain, site!("kvm_mmu_free_memory_cache:capacity"));
    }

    /// Takes everything out, under `mmu_lock`.
    pub(crate) fn claim_memory_cache(&self, cache: CacheRef) -> Claimed {
        let (heap, plain) = (&self.heap, Access::Plain);
        let CacheRef { object, base } = cache;
        let nobjs = heap.load(object, base + NOBJS, plain, site!("claim_memory_cache:nobjs"));
        let objects = heap.load(object, base + OBJECTS, plain, site!("claim_memory_cache:objects"));
        if objects != 0 {
            heap.store(object, base + NOBJS, 0, plain, site!("claim_memory_cache:empty"));
            heap.store(object, base + OBJECTS, 0, plain, site!("claim_memory_cache:forget"));
            heap.store(object, base + CAPACITY, 0, plain, site!("claim_memory_cache:capacity"));
        }
        Claimed { nobjs, objects }
    }

    /// Frees what was taken out.
    pub(crate) fn free_claimed_cache(&self, Claimed { nobjs, objects }: &Claimed) {
        for place in (0..*nobjs as usize).rev() {
            let page = self.heap.load(*objects, place, Access::Plain, site!("free_claimed_cache:page"));
            self.heap.free(page, site!("free_claimed_cache:free_page"));
        }
        self.heap.free(*objects, site!("free_claimed_cache:kvfree"));
    }

    /// How many pages lie ready (`kvm_mmu_memory_cache_nr_free_objects`).
    pub(crate) fn cache_pages(&self, cache: CacheRef) -> u64 {
        let site = site!("kvm_mmu_memory_cache_nr_free_objects");
        self.heap.load(cache.object, cache.base + NOBJS, Access::Plain, site)
    }

    /// `__kvm_mmu_topup_memory_cache`: fills the cache up to `capacity`; may sleep. Another capacity than
    /// that of the pages that are there is a warning upstream, and an error.
    pub(crate) fn kvm_mmu_topup_memory_cache(&self, cache: CacheRef, capacity: u64) -> bool {
        let _inside = R::inside("__kvm_mmu_topup_memory_cache");
        let (heap, plain) = (&self.heap, Access::Plain);
        let CacheRef { object, base } = cache;
        R::might_sleep(site!("__kvm_mmu_topup_memory_cache"));
        let mut objects =
            heap.load(object, base + OBJECTS, plain, site!("__kvm_mmu_topup_memory_cache:objects"));
        if objects == 0 {
            objects = self.cache_array(capacity);
            heap.store(object, base + OBJECTS, objects, plain, site!("__kvm_mmu_topup_memory_cache:array"));
            heap.store(
                object,
                base + CAPACITY,
                capacity,
                plain,
                site!("__kvm_mmu_topup_memory_cache:capacity"),
            );
        } else {
            let site = site!("__kvm_mmu_topup_memory_cache:capacity");
            if heap.load(object, base + CAPACITY, plain, site) != capacity {
                heap.violated("capacity-changed", NAME, site);
                return false;
            }
        }
        loop {
            let nobjs = heap.load(object, base + NOBJS, plain, site!("__kvm_mmu_topup_memory_cache:nobjs"));
            if nobjs >= capacity {
                return true;
            }
            let page = self.cache_page();
            heap.store(objects, nobjs as usize, page, plain, site!("__kvm_mmu_topup_memory_cache:page"));
            heap.store(object, base + NOBJS, nobjs + 1, plain, site!("__kvm_mmu_topup_memory_cache:push"));
        }
    }

    /// `kvm_mmu_memory_cache_alloc`: takes one page, which becomes a table page; under `mmu_lock`.
    pub(crate) fn kvm_mmu_memory_cache_alloc(&self, cache: CacheRef) {
        let (heap, plain) = (&self.heap, Access::Plain);
        let CacheRef { object, base } = cache;
        let nobjs = heap.load(object, base + NOBJS, plain, site!("kvm_mmu_memory_cache_alloc:nobjs"));
        if nobjs == 0 {
            return;
        }
        heap.store(object, base + NOBJS, nobjs - 1, plain, site!("kvm_mmu_memory_cache_alloc:pop"));
        let objects = heap.load(object, base + OBJECTS, plain, site!("kvm_mmu_memory_cache_alloc:objects"));
        let page = heap.load(objects, nobjs as usize - 1, plain, site!("kvm_mmu_memory_cache_alloc:page"));
        heap.free(page, site!("kvm_mmu_memory_cache_alloc:use"));
    }

    /// Fills a cache before anything runs.
    pub(crate) fn set_up_cache(&self, cache: CacheRef, capacity: u64, pages: u64) {
        let objects = self.cache_array(capacity);
        for place in 0..pages {
            self.heap.init(objects, place as usize, self.cache_page());
        }
        self.heap.init(cache.object, cache.base + NOBJS, pages);
        self.heap.init(cache.object, cache.base + OBJECTS, objects);
        self.heap.init(cache.object, cache.base + CAPACITY, capacity);
    }

    fn cache_array(&self, capacity: u64) -> Ptr {
        let arrays = self.set_up.arrays;
        self.heap.alloc(NAME, capacity as usize, arrays, site!("__kvm_mmu_topup_memory_cache:kvmalloc_array"))
    }

    fn cache_page(&self) -> Ptr {
        let site = site!("mmu_memory_cache_alloc_obj");
        self.heap.alloc("split cache page", 1, Memory::Kmalloc, site)
    }
}
