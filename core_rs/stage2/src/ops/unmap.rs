//! `unmap`: zero leaves and annotations, free the tables that become empty.

use runtime::{Access, Runtime, site};

use crate::descriptor::{is_counted, is_table, is_valid};
use crate::env::Env;
use crate::errno::Errno;
use crate::maintenance::{Event, Maintenance};
use crate::table::Table;
use crate::walk::{Visit, Visitor, Walk, Walker};

impl<R: Runtime> Table<R> {
    /// Zeroes every leaf that the range touches (a block touched in part goes whole), and annotations; a
    /// table whose count falls to 1 is unlinked and freed. With TLB range invalidation and FWB the leaves
    /// are invalidated once, for the range as asked, at the end, even when the walk failed.
    pub fn unmap<L: Maintenance>(&self, env: &mut Env<L>, ipa: u64, size: u64) -> Result<(), Errno> {
        let inner = &*self.inner;
        let result = Walker::walk(inner, env, Walk::Exclusive, (ipa, size), &mut Unmap);
        if inner.defers_tlbi() {
            inner.tlbi_range(env, ipa, size);
        }
        result
    }
}

struct Unmap;

impl<R: Runtime, L: Maintenance> Visitor<R, L> for Unmap {
    const POST: bool = true;

    #[inline]
    fn leaf(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        let table = walker.table;
        if !is_counted(at.old) {
            return Ok(());
        }
        clear::<R>(at);
        if is_valid(at.old) {
            if !table.defers_tlbi() {
                walker.tlbi(at.ipa, Some(at.level));
            }
            table.put(at.page, false);
            if table.config.cmo && !table.config.fwb && table.encoding.is_cacheable(at.old) {
                let (pa, size) = (table.encoding.decode_pa(at.old), table.geometry.granule_size(at.level));
                walker.env.log.log(Event::DcacheClean { pa, size });
            }
        } else {
            table.put(at.page, false);
        }
        Ok(())
    }

    fn post(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        debug_assert!(is_table(at.old, at.level));
        let table = walker.table;
        let child = table.child(at.old);
        if table.count(child) != 1 {
            return Ok(());
        }
        clear::<R>(at);
        walker.tlbi(at.ipa, None); // a hardware walk may have cached the table: never deferred
        table.put(at.page, false);
        table.put(child, false);
        Ok(())
    }
}

#[inline]
pub(super) fn clear<R: Runtime>(at: &Visit<'_>) {
    R::store(at.word, 0, Access::Marked, site!("kvm_clear_pte"));
}
