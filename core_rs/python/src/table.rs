//! `Stage2`: one table with its `mmu_lock`, its history, and its manner of answering.
//!
//! Locking, as upstream has it: a shared map, `mkyoung` and `relax_perms` run under `mmu_lock` held for
//! read, everything else under it held for write; the history has a mutex of its own, taken after
//! `mmu_lock` is released. Both are only ever waited for while detached from Python, so a thread that
//! waits here cannot hold up the one it waits for.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3_arrow::PyRecordBatch;
use runtime::native::Native;
use runtime::{Runtime as _, site};
use stage2::{Config, Env, Errno, EventLog, Found, Granule, Prot, Stopped, Table, Walk, WalkerKind};

use crate::address::{Address, check_inside, check_physical, check_range};
use crate::arrays::Addresses;
use crate::calls::{Call, refused};
use crate::enter::{enter, enter_long};
use crate::errors::Error;
use crate::frames;
use crate::history::History;
use crate::leaf::Leaf;
use crate::pieces::Cut;
use crate::prot::{check_attributes, memory_type, permissions};

#[pyclass(frozen, module = "pyworkbench._core")]
pub(crate) struct Stage2 {
    pub(crate) vm: Arc<Vm>,
    pub(crate) strict: bool,
}

/// What a call that Ctrl-C has left behind goes on with.
pub(crate) struct Vm {
    pub(crate) table: Table<Native>,
    pub(crate) mmu_lock: RwLock<()>,
    pub(crate) history: Mutex<History>,
}

#[pymethods]
#[expect(clippy::needless_pass_by_value, reason = "PyO3 hands arrays over by value")]
impl Stage2 {
    #[new]
    #[pyo3(signature = (granule, ipa_bits, *, start_level, level_bits, fwb, xnx, tlb_range, lpa2, as_s1, force_pte, cmo, walker, strict))]
    #[expect(clippy::fn_params_excessive_bools, reason = "the features of a machine, each by its name")]
    fn new(
        granule: &str,
        ipa_bits: u32,
        start_level: Option<i8>,
        level_bits: Option<u32>,
        fwb: bool,
        xnx: bool,
        tlb_range: bool,
        lpa2: bool,
        as_s1: bool,
        force_pte: bool,
        cmo: bool,
        walker: &str,
        strict: bool,
    ) -> Result<Self, Error> {
        let granule: Granule = granule.parse()?;
        let walker: WalkerKind = walker.parse()?;
        let table = Table::new(Config {
            granule,
            ipa_bits,
            start_level,
            level_bits,
            fwb,
            xnx,
            tlb_range,
            lpa2,
            as_s1,
            force_pte,
            cmo,
            walker,
        })?;
        let vm = Vm { table, mmu_lock: RwLock::default(), history: Mutex::default() };
        Ok(Self { vm: Arc::new(vm), strict })
    }

    fn map(
        &self,
        py: Python<'_>,
        ipa: Address,
        size: Address,
        pa: Address,
        prot: &str,
        memtype: &str,
        shared: bool,
    ) -> Result<i32, Error> {
        let attributes = permissions(prot)? | memory_type(memtype)?;
        if self.strict {
            check_range(self.vm.table.geometry(), ipa.0, size.0)?;
            check_physical(&self.vm.table, pa.0, size.0)?;
            check_attributes(self.vm.table.config(), prot, memtype, attributes)?;
        }
        let page_down = |address: u64| address & !(self.vm.table.geometry().page_size() - 1);
        let walk = if shared { Walk::Shared } else { Walk::Exclusive };
        let call = Call { name: "map", walk, cut: Cut::Aligned, cache_pages: None };
        let result = self.over_range(py, call, ipa.0, size.0, |env, at, size| {
            let into = page_down(at) - page_down(ipa.0);
            self.vm.table.map(env, walk, at, size, pa.0.wrapping_add(into), attributes)
        })?;
        self.answer(result, |errno| match errno {
            Errno::Again => format!(
                "map({:#x}, {:#x}): a page there is mapped already, with the same or only other permissions \
                 (relax_perms adds some, unmap makes room){}; what was mapped before it stays",
                ipa.0,
                size.0,
                if shared { ", or another thread was faster (map again)" } else { "" }
            ),
            _ => refused("map", errno),
        })
    }

    fn unmap(&self, py: Python<'_>, ipa: Address, size: Address) -> Result<i32, Error> {
        let call = Call { cut: Cut::FromStart, ..Call::exclusive("unmap") };
        self.checked_range(py, call, ipa, size, |env, at, size| self.vm.table.unmap(env, at, size))
    }

    fn wrprotect(&self, py: Python<'_>, ipa: Address, size: Address) -> Result<i32, Error> {
        let call = Call::exclusive("wrprotect");
        self.checked_range(py, call, ipa, size, |env, at, size| self.vm.table.wrprotect(env, at, size))
    }

    fn flush(&self, py: Python<'_>, ipa: Address, size: Address) -> Result<i32, Error> {
        let call = Call::exclusive("flush");
        self.checked_range(py, call, ipa, size, |env, at, size| self.vm.table.flush(env, at, size))
    }

    fn mkyoung(&self, py: Python<'_>, ipa: Address) -> Result<(), Error> {
        self.check_page(ipa)?;
        let call = Call { walk: Walk::Shared, ..Call::exclusive("mkyoung") };
        let result = self.over_range(py, call, ipa.0, 1, |env, at, _| {
            self.vm.table.mkyoung(env, at);
            Ok(())
        })?;
        self.answer(result, |errno| refused("mkyoung", errno)).map(drop)
    }

    fn test_clear_young(
        &self,
        py: Python<'_>,
        ipa: Address,
        size: Address,
        mkold: bool,
    ) -> Result<bool, Error> {
        let mut young = false;
        let call = Call::exclusive("test_clear_young");
        self.checked_range(py, call, ipa, size, |env, at, size| {
            young |= self.vm.table.test_clear_young(env, at, size, mkold);
            Ok(())
        })?;
        Ok(young)
    }

    fn relax_perms(&self, py: Python<'_>, ipa: Address, prot: &str) -> Result<i32, Error> {
        let added = permissions(prot)?;
        if self.strict {
            self.check_page(ipa)?;
            check_attributes(self.vm.table.config(), prot, "normal", added)?;
            if added.intersects(Prot::SW) {
                return Err(Error::Input(format!(
                    "prot {prot:?} adds software bits, which relax_perms does not: letters of r, w, x, u, p would be right"
                )));
            }
        }
        let call = Call { walk: Walk::Shared, ..Call::exclusive("relax_perms") };
        let result =
            self.over_range(py, call, ipa.0, 1, |env, at, _| self.vm.table.relax_perms(env, at, added))?;
        self.answer(result, |errno| match errno {
            Errno::Again => format!("relax_perms({:#x}): nothing is mapped there; map it first", ipa.0),
            _ => refused("relax_perms", errno),
        })
    }

    #[pyo3(signature = (ipa, size, cache_pages))]
    fn split(
        &self,
        py: Python<'_>,
        ipa: Address,
        size: Address,
        cache_pages: Option<u64>,
    ) -> Result<i32, Error> {
        if self.strict {
            check_range(self.vm.table.geometry(), ipa.0, size.0)?;
        }
        let call = Call { cache_pages, ..Call::exclusive("split") };
        let result =
            self.over_range(py, call, ipa.0, size.0, |env, at, size| self.vm.table.split(env, at, size))?;
        self.answer(result, |errno| match (errno, cache_pages) {
            (Errno::NoMem, Some(pages)) => format!(
                "split({:#x}, {:#x}): cache_pages {pages} ran out; what was split before stays",
                ipa.0, size.0
            ),
            _ => refused("split", errno),
        })
    }

    fn annotate(
        &self,
        py: Python<'_>,
        ipa: Address,
        size: Address,
        kind: u8,
        value: Address,
    ) -> Result<i32, Error> {
        if self.strict && !(2..=15).contains(&kind) {
            return Err(Error::Input(format!(
                "kind {kind} is no annotation: 2 to 15 would be (1 is break-before-make's own)"
            )));
        }
        if self.strict && value.0 & (1 | 0xf << 60) != 0 {
            return Err(Error::Input(format!(
                "value {:#x} uses bit 0 or bits 63:60, which tell an annotation: {:#x} would be right",
                value.0,
                value.0 & !(1 | 0xf << 60)
            )));
        }
        let call = Call::exclusive("annotate");
        self.checked_range(py, call, ipa, size, |env, at, size| {
            self.vm.table.annotate(env, at, size, kind, value.0)
        })
    }

    fn destroy(&self, py: Python<'_>) -> Result<(), Error> {
        let vm = Arc::clone(&self.vm);
        enter_long(py, move |_| {
            let mut env = Env::new(EventLog::default());
            {
                let _held = vm.mmu_lock.write();
                if vm.table.root().is_some() {
                    vm.table.destroy(&mut env);
                }
            }
            let mut history = vm.history.lock();
            let number = history.begin();
            history.add(number, "destroy", env.log.events.drain(..));
            Ok::<_, Error>(())
        })
    }

    fn lookup(&self, py: Python<'_>, ipa: Address) -> Result<Option<Leaf>, Error> {
        if self.strict {
            check_inside(self.vm.table.geometry(), ipa.0)?;
        }
        enter(py, || {
            let _held = self.vm.mmu_lock.read();
            let found = self.vm.table.get_leaf(ipa.0).ok().filter(|leaf| leaf.desc != 0);
            Ok::<_, Error>(found.map(|leaf| Leaf::of(&self.vm.table, ipa.0, leaf.level, leaf.desc)))
        })
    }

    fn map_many(
        &self,
        py: Python<'_>,
        ipas: Addresses<'_>,
        pas: Addresses<'_>,
        prot: &str,
        memtype: &str,
        shared: bool,
    ) -> Result<i32, Error> {
        let attributes = permissions(prot)? | memory_type(memtype)?;
        if ipas.len() != pas.len() {
            return Err(Error::Input(format!(
                "{} ipas and {} pas: as many of each would be right",
                ipas.len(),
                pas.len()
            )));
        }
        if self.strict {
            ipas.check_pages(&self.vm.table)?;
            pas.check_physical(&self.vm.table)?;
            check_attributes(self.vm.table.config(), prot, memtype, attributes)?;
        }
        let walk = if shared { Walk::Shared } else { Walk::Exclusive };
        let pages = pas.as_slice()?;
        let result = self.over_elements(py, "map_many", walk, &ipas, |env, first, ipas| {
            let pas = &pages[first..first + ipas.len()];
            self.vm.table.map_many(env, walk, ipas, pas, attributes)
        })?;
        self.answer_elements("map_many", &ipas, result, |errno| match errno {
            Errno::Again => "it is mapped already; the pages before it are mapped now".to_owned(),
            _ => refused("map_many", errno),
        })
    }

    fn unmap_many(&self, py: Python<'_>, ipas: Addresses<'_>) -> Result<i32, Error> {
        if self.strict {
            ipas.check_pages(&self.vm.table)?;
        }
        let result = self.over_elements(py, "unmap_many", Walk::Exclusive, &ipas, |env, _, ipas| {
            self.vm.table.unmap_many(env, ipas)
        })?;
        self.answer_elements("unmap_many", &ipas, result, |errno| refused("unmap_many", errno))
    }

    fn lookup_many(&self, py: Python<'_>, ipas: Addresses<'_>) -> Result<PyRecordBatch, Error> {
        if self.strict {
            ipas.check_inside(&self.vm.table)?;
        }
        let mut found = Found::default();
        found.reserve(ipas.len());
        ipas.in_parts(py, |_, ipas| {
            let _held = self.vm.mmu_lock.read();
            let mut ipas = ipas;
            // What lies outside a table that is not strict is not mapped.
            while let Err(Stopped { index, .. }) = self.vm.table.lookup_many(ipas, &mut found) {
                found.push_nothing();
                ipas = &ipas[index + 1..];
            }
            Ok(())
        })?;
        Ok(frames::found(found))
    }

    fn leaves(&self, py: Python<'_>) -> Result<PyRecordBatch, Error> {
        let vm = Arc::clone(&self.vm);
        enter_long(py, move |stop| {
            let _held = vm.mmu_lock.read();
            Ok::<_, Error>(frames::leaves(vm.table.leaves(stop)))
        })
    }

    fn invalidations(&self, py: Python<'_>) -> Result<PyRecordBatch, Error> {
        let vm = Arc::clone(&self.vm);
        enter_long(py, move |_| Ok::<_, Error>(frames::events(vm.history.lock().recorded.iter())))
    }

    fn dump(&self, py: Python<'_>) -> Result<String, Error> {
        let vm = Arc::clone(&self.vm);
        enter_long(py, move |_| {
            let _held = vm.mmu_lock.read();
            Ok::<_, Error>(vm.table.dump())
        })
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let vm = Arc::clone(&self.vm);
        let (counted, live, harm) = enter_long(py, move |_| {
            <Native>::rcu_barrier(site!("stage2:stats")); // what was unlinked is freed before it is counted
            let _held = vm.mmu_lock.read();
            Ok::<_, Error>((vm.table.table_stats(), vm.table.live_pages(), vm.table.harm()))
        })?;
        let (counts, dropped) = enter(py, || {
            let history = self.vm.history.lock();
            Ok::<_, Error>((history.counts, history.dropped))
        })?;
        let stats = PyDict::new(py);
        for (name, value) in [
            ("tables", live),
            ("blocks", counted.blocks),
            ("pages", counted.pages),
            ("annotations", counted.annotations),
            ("mapped_bytes", counted.mapped_bytes),
            ("table_bytes", live * self.vm.table.geometry().page_size()),
            ("tlbi_ipa", counts.tlbi_ipa),
            ("tlbi_ipa_nsh", counts.tlbi_ipa_nsh),
            ("tlbi_range", counts.tlbi_range),
            ("tlbi_vmid", counts.tlbi_vmid),
            ("dcache_clean", counts.dcache_clean),
            ("icache_invalidate", counts.icache_invalidate),
            ("free_unlinked", counts.free_unlinked),
            ("warn", counts.warn),
            ("events_dropped", dropped),
            ("double_frees", harm.double_frees),
            ("count_underflows", harm.count_underflows),
        ] {
            stats.set_item(name, value)?;
        }
        Ok(stats)
    }

    #[getter]
    fn walker(&self) -> String {
        self.vm.table.config().walker.to_string()
    }

    #[getter]
    fn granule(&self) -> String {
        self.vm.table.config().granule.to_string()
    }

    #[getter]
    fn ipa_bits(&self) -> u32 {
        self.vm.table.geometry().ipa_bits()
    }

    #[getter]
    fn start_level(&self) -> i8 {
        self.vm.table.geometry().start_level()
    }

    #[getter]
    fn root_pages(&self) -> usize {
        self.vm.table.geometry().root_pages()
    }

    #[getter]
    fn level_bits(&self) -> u32 {
        self.vm.table.geometry().level_bits()
    }

    #[getter]
    fn page_size(&self) -> u64 {
        self.vm.table.geometry().page_size()
    }

    #[getter]
    fn live_pages(&self) -> u64 {
        self.vm.table.live_pages()
    }
}
