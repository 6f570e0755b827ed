//! `flush`: clean the data cache behind cacheable leaves.

use runtime::Runtime;

use crate::env::Env;
use crate::errno::Errno;
use crate::maintenance::{Event, Maintenance};
use crate::table::Table;
use crate::walk::{Visit, Visitor, Walk, Walker};

impl<R: Runtime> Table<R> {
    /// Cleans the data cache behind every cacheable leaf of the range; with FWB there is nothing to do, and
    /// nothing is walked.
    pub fn flush<L: Maintenance>(&self, env: &mut Env<L>, ipa: u64, size: u64) -> Result<(), Errno> {
        if self.inner.config.fwb {
            return Ok(());
        }
        Walker::walk(&self.inner, env, Walk::Exclusive, (ipa, size), &mut Flush)
    }
}

struct Flush;

impl<R: Runtime, L: Maintenance> Visitor<R, L> for Flush {
    const SKIPS_EMPTY: bool = true;

    #[inline]
    fn leaf(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        let table = walker.table;
        if table.config.cmo && table.encoding.is_cacheable(at.old) {
            let (pa, size) = (table.encoding.decode_pa(at.old), table.geometry.granule_size(at.level));
            walker.env.log.log(Event::DcacheClean { pa, size });
        }
        Ok(())
    }
}
