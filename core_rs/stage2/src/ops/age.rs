//! `test_clear_young`: was the range accessed?

use runtime::Runtime;

use crate::descriptor::{AF, is_valid};
use crate::env::Env;
use crate::errno::Errno;
use crate::maintenance::{Event, Maintenance};
use crate::table::Table;
use crate::walk::{Visit, Visitor, Walk, Walker};

impl<R: Runtime> Table<R> {
    /// Whether any leaf of the range has the access flag; clears it if `mkold`. The invalidation is the
    /// caller's. A range outside the IPA space is `false` and a warning, as upstream has no return code here.
    pub fn test_clear_young<L: Maintenance>(
        &self,
        env: &mut Env<L>,
        ipa: u64,
        size: u64,
        mkold: bool,
    ) -> bool {
        let mut age = Age { mkold, young: false };
        if Walker::walk(&self.inner, env, Walk::Exclusive, (ipa, size), &mut age).is_err() {
            env.log.log(Event::Warn);
        }
        age.young
    }
}

struct Age {
    mkold: bool,
    young: bool,
}

impl<R: Runtime, L: Maintenance> Visitor<R, L> for Age {
    const SKIPS_EMPTY: bool = true;

    #[inline]
    fn leaf(&mut self, walker: &mut Walker<'_, R, L>, at: &Visit<'_>) -> Result<(), Errno> {
        if !is_valid(at.old) || at.old & AF == 0 {
            return Ok(());
        }
        self.young = true;
        if self.mkold && !walker.try_set(at, at.old & !AF) {
            return Err(Errno::Again);
        }
        Ok(())
    }
}
