//! Static names of places in the code under study.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

/// A place in the code under study: made by [`site!`](crate::site), compared by name.
pub type Site = &'static SiteInfo;

/// The name behind a [`Site`], and the small number that lock counters index by.
pub struct SiteInfo {
    name: &'static str,
    /// 0 until the site is first counted; [`DELAYED`] beside it while locks taken here are held longer.
    tag: AtomicU32,
    /// How much longer, in nanoseconds.
    delay: AtomicU32,
}

/// In a site's tag: it has a delay.
const DELAYED: u32 = 1 << 31;

impl SiteInfo {
    /// A site of the given name; use [`site!`](crate::site), which makes it `'static`.
    pub const fn new(name: &'static str) -> Self {
        Self { name, tag: AtomicU32::new(0), delay: AtomicU32::new(0) }
    }

    /// The name, such as `stage2_try_set_pte:cmpxchg`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// A number from 1 up without gaps, given at first use: different sites have different numbers.
    #[inline]
    pub fn number(&'static self) -> u32 {
        let tag = match self.tag.load(Ordering::Relaxed) {
            0 => self.assign(),
            tag => tag,
        };
        tag & !DELAYED
    }

    /// The number; 0 until there is one, and while there is a delay, something that is greater than any number.
    #[inline]
    pub(crate) fn plain_number(&self) -> u32 {
        self.tag.load(Ordering::Relaxed)
    }

    /// How much longer a lock is held that was taken here, in nanoseconds.
    pub(crate) fn delay(&self) -> u32 {
        self.delay.load(Ordering::Relaxed)
    }

    /// The site that has this number.
    pub(crate) fn numbered(number: u32) -> Option<Site> {
        NUMBERED.lock().sites.get((number as usize).checked_sub(1)?).copied()
    }

    #[cold]
    fn assign(&'static self) -> u32 {
        let mut numbered = NUMBERED.lock();
        if self.tag.load(Ordering::Relaxed) == 0 {
            numbered.sites.push(self);
            let delay = numbered.delay(self.name);
            self.set(numbered.sites.len() as u32, delay);
        }
        self.tag.load(Ordering::Relaxed)
    }

    fn set(&self, number: u32, delay: u32) {
        self.delay.store(delay, Ordering::Relaxed);
        let flag = if delay > 0 { DELAYED } else { 0 };
        self.tag.store(number | flag, Ordering::Relaxed);
    }
}

/// Sets how much longer locks are held that are taken at sites of this name, numbered or not yet; 0 for no
/// longer. Answers what was set before.
pub(crate) fn set_delay(name: &str, ns: u32) -> u32 {
    let mut numbered = NUMBERED.lock();
    let before = numbered.delay(name);
    numbered.delays.retain(|(delayed, _)| delayed != name);
    if ns > 0 {
        numbered.delays.push((name.to_owned(), ns));
    }
    for (number, site) in (1..).zip(&numbered.sites).filter(|(_, site)| site.name == name) {
        site.set(number, ns);
    }
    before
}

/// What is known of sites beside themselves.
struct Numbered {
    /// Those that have a number, from 1 up.
    sites: Vec<Site>,
    delays: Vec<(String, u32)>,
}

impl Numbered {
    fn delay(&self, name: &str) -> u32 {
        self.delays.iter().find(|(delayed, _)| delayed == name).map_or(0, |(_, ns)| *ns)
    }
}

static NUMBERED: Mutex<Numbered> = Mutex::new(Numbered { sites: Vec::new(), delays: Vec::new() });

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
