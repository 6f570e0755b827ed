//! Destroying a table in ranges as first tried in Sep 2025, and reverted: on the way up, each range frees the child
//! table whatever it still holds, and leaves in place the entry that points to it; the next range follows it.
//!
//! The table knows nothing of this walk: pages are freed behind its back and never used again.

use runtime::{Access, Object, Runtime, site};
use stage2::{PageId, Table, is_table};

/// Destroys `[ipa, ipa + size)`.
pub(crate) fn destroy_range<R: Runtime>(table: &Table<R>, ipa: u64, size: u64) {
    let Some(root) = table.root() else { return };
    let geometry = table.geometry();
    let level = geometry.start_level();
    for index in 0..geometry.root_pages() as u32 {
        let first = u64::from(index) * geometry.granule_size(level - 1);
        destroy_page(table, (root.plus(index), level, first), (ipa, ipa + size));
    }
}

/// Visits a table page of `level` whose first entry maps `first`.
fn destroy_page<R: Runtime>(
    table: &Table<R>,
    (page, level, first): (PageId, i8, u64),
    (start, end): (u64, u64),
) {
    let size = table.geometry().granule_size(level);
    for (ipa, word) in (first..).step_by(size as usize).zip(table.words(page)) {
        if ipa + size <= start || ipa >= end {
            continue;
        }
        let desc = R::load(word, Access::Marked, site!("kvm_pgtable_visit:read"));
        if is_table(desc, level) {
            let child = table.child(desc);
            destroy_page(table, (child, level + 1, ipa), (start, end));
            let index = table.encoding().decode_pa(desc) >> table.geometry().page_shift();
            let object = Object { name: "stage2 table page", index, words: table.words(child) };
            R::freed(object, site!("stage2_free_walker:put_page"));
        }
    }
}
