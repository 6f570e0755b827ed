//! `fill`: a state to start from, made in bulk.

use runtime::Runtime;

use super::map::{Leaf, Linked, Map};
use crate::config::WalkerKind;
use crate::env::Env;
use crate::errno::Errno;
use crate::maintenance::NoLog;
use crate::prot::Prot;
use crate::table::Table;
use crate::walk::{Walk, Walker};

impl<R: Runtime> Table<R> {
    /// Maps `[ipa, ipa + size)` by leaves of `leaf_bytes`, page or block, even where larger ones would fit. By the
    /// `fast` walker, whichever the table's own is, so that a table of 2 GiB is a matter of seconds. As [`Table::map`]
    /// otherwise, in an exclusive walk.
    ///
    /// ```
    /// use runtime::native::Native;
    /// use stage2::{Config, Env, NoLog, Prot, Table};
    ///
    /// let table = Table::<Native>::new(Config::default())?;
    /// table.fill(&mut Env::new(NoLog), 0, 1 << 30, 0, Prot::R | Prot::W, 4096).unwrap();
    /// assert_eq!(table.table_stats().pages, 1 << 18);
    /// # Ok::<(), stage2::ConfigError>(())
    /// ```
    pub fn fill(
        &self,
        env: &mut Env<NoLog>,
        ipa: u64,
        size: u64,
        pa: u64,
        prot: Prot,
        leaf_bytes: u64,
    ) -> Result<(), Errno> {
        let attributes = self.inner.encoding.leaf_attributes(prot)?;
        let force_pte = leaf_bytes == self.geometry().page_size();
        let piece = if force_pte { size } else { leaf_bytes };
        for start in (0..size).step_by(piece.max(1) as usize) {
            let leaf = Leaf::Memory { pa: pa + start, attributes };
            let mut visitor = Linked(Map { leaf, force_pte }, &self.inner);
            let range = (ipa + start, piece.min(size - start));
            Walker::walk_by(WalkerKind::Fast, &self.inner, env, Walk::Exclusive, range, &mut visitor)?;
        }
        Ok(())
    }
}
