//! Array calls: one operation on many pages, element by element and in order, without a call for each.
//!
//! Locking is the caller's, for the whole call. What is guaranteed: the table is as after the calls one by one.
//! What is not: `unmap_many` on the `fast` walker gathers its invalidations, so they are fewer and wider.

use runtime::Runtime;

use crate::descriptor::is_valid;
use crate::env::Env;
use crate::errno::Errno;
use crate::inspect::Leaf;
use crate::maintenance::Maintenance;
use crate::prot::Prot;
use crate::table::Table;
use crate::walk::Walk;

/// The element at which an array call ended, and why; the elements before it are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("element {index}: {errno}")]
pub struct Stopped {
    /// Its place in the arrays.
    pub index: usize,
    /// What its operation answered.
    pub errno: Errno,
}

/// What look-ups found, a column each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where the address lies: that of a leaf; 0 where there is none.
    pub pa: Vec<u64>,
    /// The level of the last descriptor on the way.
    pub level: Vec<i8>,
    /// That descriptor, 0 where nothing is mapped.
    pub desc: Vec<u64>,
}

impl Found {
    /// Adds an address at which nothing is.
    pub fn push_nothing(&mut self) {
        self.push(0, Leaf { level: 0, desc: 0 });
    }

    #[inline]
    fn push(&mut self, pa: u64, leaf: Leaf) {
        self.pa.push(pa);
        self.level.push(leaf.level);
        self.desc.push(leaf.desc);
    }

    /// Makes room for `n` more.
    pub fn reserve(&mut self, n: usize) {
        self.pa.reserve(n);
        self.level.reserve(n);
        self.desc.reserve(n);
    }
}

/// Ranges that one [`Table::unmap_many`] of the `fast` walker invalidates at most, before it invalidates everything.
const MAX_RANGES: usize = 64;

impl<R: Runtime> Table<R> {
    /// [`Table::map`] of one page for each element of `ipas`, to the page of `pas` at the same place.
    ///
    /// # Panics
    /// If the arrays differ in length.
    ///
    /// ```
    /// use runtime::native::Native;
    /// use stage2::{Config, Env, Errno, Found, NoLog, Prot, Stopped, Table, Walk};
    ///
    /// let table = Table::<Native>::new(Config::default())?;
    /// let mut env = Env::new(NoLog);
    /// table.map_many(&mut env, Walk::Exclusive, &[0x1000, 0x5000], &[0x8000, 0x9000], Prot::R).unwrap();
    ///
    /// let mut found = Found::default();
    /// table.lookup_many(&[0x5123, 0x2000], &mut found).unwrap();
    /// assert_eq!((found.pa, found.level), (vec![0x9123, 0], vec![3, 3]));
    ///
    /// let again = table.map_many(&mut env, Walk::Exclusive, &[0x2000, 0x5000], &[0, 0x9000], Prot::R);
    /// assert_eq!(again, Err(Stopped { index: 1, errno: Errno::Again }));
    /// # Ok::<(), stage2::ConfigError>(())
    /// ```
    pub fn map_many<L: Maintenance>(
        &self,
        env: &mut Env<L>,
        walk: Walk,
        ipas: &[u64],
        pas: &[u64],
        prot: Prot,
    ) -> Result<(), Stopped> {
        assert_eq!(ipas.len(), pas.len(), "as many physical addresses as guest addresses");
        let page = self.geometry().page_size();
        each(ipas.iter().zip(pas), |(&ipa, &pa)| self.map(env, walk, ipa, page, pa, prot))
    }

    /// [`Table::unmap`] of one page for each element. The `fast` walker invalidates at the end: neighbouring pages
    /// together, and everything where that would take more than 64 ranges.
    pub fn unmap_many<L: Maintenance>(&self, env: &mut Env<L>, ipas: &[u64]) -> Result<(), Stopped> {
        let (inner, page) = (&*self.inner, self.geometry().page_size());
        if !(inner.is_fast() && inner.defers_tlbi()) {
            return each(ipas.iter(), |&ipa| self.unmap(env, ipa, page));
        }
        let mut gathered = Gathered::default();
        let result = each(ipas.iter(), |&ipa| {
            gathered.add(ipa & !(page - 1), page);
            self.unmap_one(env, ipa)
        });
        match gathered.ranges {
            Some(ranges) => ranges.iter().for_each(|&(ipa, size)| inner.tlbi_range(env, ipa, size)),
            None => inner.tlbi_all(env),
        }
        result
    }

    /// [`Table::get_leaf`] for each element; what is found is added to `found`.
    pub fn lookup_many(&self, ipas: &[u64], found: &mut Found) -> Result<(), Stopped> {
        found.reserve(ipas.len());
        let (geometry, encoding) = (self.geometry(), self.encoding());
        let mut add = |ipa: u64, leaf: Leaf| {
            let inside = geometry.granule_size(leaf.level) - 1;
            let pa = encoding.decode_pa(leaf.desc) & !inside | ipa & inside;
            found.push(if is_valid(leaf.desc) { pa } else { 0 }, leaf);
        };
        if self.inner.is_fast() {
            return self.inner.find_many(ipas, add).map_err(|(index, errno)| Stopped { index, errno });
        }
        each(ipas.iter(), |&ipa| self.get_leaf(ipa).map(|leaf| add(ipa, leaf)))
    }
}

#[inline]
fn each<T>(
    elements: impl Iterator<Item = T>,
    mut operation: impl FnMut(T) -> Result<(), Errno>,
) -> Result<(), Stopped> {
    for (index, element) in elements.enumerate() {
        operation(element).map_err(|errno| Stopped { index, errno })?;
    }
    Ok(())
}

/// Ranges to invalidate, neighbours together; `None` is everything.
struct Gathered {
    ranges: Option<Vec<(u64, u64)>>,
}

impl Default for Gathered {
    fn default() -> Self {
        Self { ranges: Some(Vec::new()) }
    }
}

impl Gathered {
    #[inline]
    fn add(&mut self, ipa: u64, size: u64) {
        let Some(ranges) = &mut self.ranges else { return };
        if let Some((_, length)) = ranges.last_mut().filter(|(start, length)| *start + *length == ipa) {
            *length += size;
        } else if ranges.len() < MAX_RANGES {
            ranges.push((ipa, size));
        } else {
            self.ranges = None;
        }
    }
}
