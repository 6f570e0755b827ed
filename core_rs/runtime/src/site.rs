//! Static names of places in the code under study.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

/// A place in the code under study: made by [`site!`](crate::site), compared by name.
pub type Site = &'static SiteInfo;

/// The name behind a [`Site`], and the small number that lock counters index by.
pub struct SiteInfo {
    name: &'static str,
    /// 0 until the site is first counted.
    number: AtomicU32,
}

impl SiteInfo {
    /// A site of the given name; use [`site!`](crate::site), which makes it `'static`.
    pub const fn new(name: &'static str) -> Self {
        Self { name, number: AtomicU32::new(0) }
    }

    /// The name, such as `stage2_try_set_pte:cmpxchg`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// A number from 1 up without gaps, given at first use: different sites have different numbers.
    #[inline]
    pub fn number(&'static self) -> u32 {
        match self.number.load(Ordering::Relaxed) {
            0 => self.assign(),
            number => number,
        }
    }

    /// The site that has this number.
    pub(crate) fn numbered(number: u32) -> Option<Site> {
        NUMBERED.lock().get((number as usize).checked_sub(1)?).copied()
    }

    #[cold]
    fn assign(&'static self) -> u32 {
        let mut numbered = NUMBERED.lock();
        if self.number.load(Ordering::Relaxed) == 0 {
            numbered.push(self);
            self.number.store(numbered.len() as u32, Ordering::Relaxed);
        }
        self.number.load(Ordering::Relaxed)
    }
}

/// The sites that have a number, from 1 up.
static NUMBERED: Mutex<Vec<Site>> = Mutex::new(Vec::new());

impl fmt::Debug for SiteInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Names a place in the code under study.
///
/// ```
/// let site: runtime::Site = runtime::site!("kvm_free_stage2_pgd:swap");
/// assert_eq!(site.name(), "kvm_free_stage2_pgd:swap");
/// ```
#[macro_export]
macro_rules! site {
    ($name:literal) => {{
        static SITE: $crate::SiteInfo = $crate::SiteInfo::new($name);
        &SITE
    }};
}
