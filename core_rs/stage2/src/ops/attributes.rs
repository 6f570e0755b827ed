//! `wrprotect`, `mkyoung`, `relax_perms`: change attributes of leaves in place.

use runtime::{Access, Runtime, site};

use crate::descriptor::{AF, S2AP_R, S2AP_W, XN, is_executable, is_valid};
use crate::env::Env;
use crate::errno::Errno;
use crate::maintenance::{Event, Maintenance, Tlbi};
use crate::prot::Prot;
use crate::table::Table;
use crate::walk::{Run, Visit, Visitor, Walk, Walker};

impl<R: Runtime> Table<R> {
    /// Clears write permission of every valid leaf of the range, and passes over the rest. The invalidation
    /// is the caller's.
    pub fn wrprotect<L: Maintenance>(&self, env: &mut Env<L>, ipa: u64, size: u64) -> Result<(), Errno> {
        let mut update = Update::<true>::new(0, S2AP_W);
        Walker::walk(&self.inner, env, Walk::Exclusive, (ipa, size), &mut update)
    }

    /// Sets the access flag of the leaf at `ipa`, in a shared walk; an unmapped page, a page outside the
    /// IPA space and a lost race are passed over, as upstream has no return code here.
    #[inline]
    pub fn mkyoung<L: Maintenance>(&self, env: &mut Env<L>, ipa: u64) {
        if self.inner.is_fast() && self.inner.mkyoung_page(env, ipa) {
            return;
        }
        let mut update = Update::<false>::new(AF, 0);
        let _ = Walker::walk(&self.inner, env, Walk::Shared, (ipa, 1), &mut update);
    }

    /// Adds permissions to the leaf at `ipa`, in a shared walk, and invalidates it on this processor. Adding
    /// execute replaces the XN field; software bits are [`Errno::Inval`]; an unmapped page is
    /// [`Errno::Again`], invalidated all the same.
    pub fn relax_perms<L: Maintenance>(&self, env: &mut Env<L>, ipa: u64, prot: Prot) -> Result<(), Errno> {
        if prot.intersects(Prot::SW) {
            return Err(Errno::Inval);
        }
        let mut set = 0;
        let mut clear = 0;
        if prot.contains(Prot::R) {
            set |= S2AP_R;
        }
        if prot.contains(Prot::W) {
            set |= S2AP_W;
        }
        if prot.intersects(Prot::X) {
            let xn = self.inner.encoding.xn(prot)?;
            set |= xn;
            clear |= XN & !xn;
        }
        let mut update = Update::<false>::new(set, clear);
        let result = Walker::walk(&self.inner, env, Walk::Shared, (ipa, 1), &mut update);
        if matches!(result, Ok(()) | Err(Errno::Again)) {
            let size = update.level.map_or(1, |level| self.geometry().granule_size(level));
            R::tlb_invalidate(ipa, size, site!("__kvm_tlb_flush_vmid_ipa_nsh"));
            env.log.log(Event::Tlbi(Tlbi::IpaNsh { ipa, level: update.level }));
        }
        result
    }
}

/// Sets and clears attribute bits of valid leaves; an invalid entry is [`Errno::Again`].
struct Update<const IGNORE_AGAIN: bool> {
    set: u64,
    clear: u64,
    /// The level of the last valid leaf.
    level: Option<i8>,
}

impl<const IGNORE_AGAIN: bool> Update<IGNORE_AGAIN> {
    fn new(set: u64, clear: u64) -> Self {
        Self { set, clear, level: None }
    }
}

impl<const IGNORE_AGAIN: bool, R: Runtime, L: Maintenance> Visitor<R, L> for Update<IGNORE_AGAIN> {
    const IGNORE_AGAIN: bool = IGNORE_AGAIN;
    const SKIPS_EMPTY: bool = IGNORE_AGAIN; // there is nothing to say of an unmapped page

    #[inline]
    fn leaf(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        if !is_valid(at.old) {
            return Err(Errno::Again);
        }
        self.level = Some(at.level);
        let new = at.old & !self.clear | self.set;
        if new == at.old {
            return Ok(());
        }
        let table = walker.table;
        if table.config.cmo && is_executable(new) && !is_executable(at.old) {
            let (pa, size) = (table.encoding.decode_pa(new), table.geometry.granule_size(at.level));
            walker.env.log.log(Event::IcacheInvalidate { pa, size });
        }
        if walker.try_set(at, new) { Ok(()) } else { Err(Errno::Again) }
    }

    fn run(&mut self, walker: &mut Walker<'_, R, L>, run: &Run<'_>) -> Result<(), Errno> {
        if !IGNORE_AGAIN || self.set != 0 {
            return run.visits::<R>().try_for_each(|at| self.leaf(walker, &at));
        }
        for word in run.words {
            let old = R::load(word, Access::Marked, site!("kvm_pgtable_visit:read"));
            if is_valid(old) && old & self.clear != 0 {
                R::store(word, old & !self.clear, Access::Marked, site!("stage2_try_set_pte:store"));
            }
        }
        Ok(())
    }
}
