//! The table before the clock starts, made in bulk, and its memory touched.
//!
//! What is guaranteed: no operation pays for memory that the system has yet to give, as every table page that the
//! operations can need has been used once. What is not: which pages of the arena those are.

use runtime::Runtime;
use stage2::{Env, Errno, Geometry, LAST_LEVEL, NoLog, Prot, Table, WalkerKind};

use crate::mix::Class;
use crate::names::Populate;
use crate::plan::Plan;

/// Bytes that are filled between two looks at the cancel flag: 2 GiB of table are 1 TiB of guest.
const PIECE: u64 = 16 << 30;

/// Brings `table` into the state that `plan` begins with; `cancelled` is asked now and then.
pub(crate) fn run<R: Runtime>(
    plan: &Plan,
    table: &Table<R>,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), Errno> {
    let mut env = Env::new(NoLog);
    let page = table.geometry().page_size();
    let small = plan.operations.as_ref().is_some_and(|all| all.logging || all.mix.has(Class::Split));
    let operates = plan.operations.is_some();
    if operates && (plan.populate == Populate::None || small && plan.leaf_bytes > page) {
        let leaf = if small { page } else { plan.leaf_bytes };
        fill(plan, table, &mut env, Prot::R, leaf, cancelled)?;
        table.unmap_by(WalkerKind::Fast, &mut env, 0, plan.guest_bytes)?;
    }
    let prot = match plan.populate {
        Populate::None => return Ok(()),
        Populate::All => Prot::R,
        Populate::Written | Populate::Old => Prot::R | Prot::W,
    };
    fill(plan, table, &mut env, prot, plan.leaf_bytes, cancelled)?;
    if plan.populate == Populate::Old {
        table.test_clear_young(&mut env, 0, plan.guest_bytes, true);
    }
    Ok(())
}

fn fill<R: Runtime>(
    plan: &Plan,
    table: &Table<R>,
    env: &mut Env<NoLog>,
    prot: Prot,
    leaf: u64,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), Errno> {
    let stride = plan.touch_bytes * plan.sparsity;
    if stride <= leaf {
        for ipa in (0..plan.guest_bytes).step_by(PIECE.max(leaf) as usize) {
            if cancelled() {
                return Ok(());
            }
            let size = PIECE.max(leaf).min(plan.guest_bytes - ipa);
            table.fill(env, ipa, size, ipa, prot, leaf)?;
        }
        return Ok(());
    }
    for (number, touch) in (0..plan.guest_bytes).step_by(stride as usize).enumerate() {
        if number % 4096 == 0 && cancelled() {
            return Ok(());
        }
        let ipa = touch & !(leaf - 1);
        table.fill(env, ipa, leaf, ipa, prot, leaf)?;
    }
    Ok(())
}

/// Table pages that a guest needs when all that is touched is mapped, by the smallest leaves that may come up.
pub(crate) fn pages_needed(plan: &Plan, geometry: &Geometry) -> u64 {
    let small = plan.operations.as_ref().is_some_and(|all| all.logging || all.mix.has(Class::Split));
    let last = if small { geometry.page_size() } else { plan.leaf_bytes };
    let touches = (plan.guest_bytes / plan.touch_bytes).div_ceil(plan.sparsity);
    let below = (geometry.start_level() + 1..=LAST_LEVEL)
        .filter(|&level| geometry.granule_size(level) >= last)
        .map(|level| plan.guest_bytes.div_ceil(geometry.granule_size(level - 1)).min(touches));
    geometry.root_pages() as u64 + below.sum::<u64>()
}
