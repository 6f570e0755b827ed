//! Rebuilds every VM's stage-2 table operation by operation, and compares it with what the machine held.
//!
//! Guarantee: each operation that the kernel carried out is carried out once, in the order of return, on the
//! table that it named; an operation that failed (`ret` is not 0) is not. What cannot be replayed or compared
//! is named in the result: a VM whose creation the trace missed, a snapshot without its mark, lost events.
//!
//! Why the order of return is right: operations that exclude each other return before they drop `mmu_lock`,
//! and those that share it leave the same table in any order.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use runtime::native::{Native, Off};
use stage2::{Config, Env, Errno, Event as Done, EventLog, MemoryCache, Table, Tlbi, Walk, WalkerKind};

use crate::compare::{Comparison, Rules, compare_attributes, compare_entries};
use crate::directory::{Capture, Scenario, Source};
use crate::env::Environment;
use crate::error::{CaptureError, Place};
use crate::invalidations::{Attribution, tlbi};
use crate::ptdump::Dump;
use crate::record::{Event, Record};
use crate::report::{
    Against, AnswerDifference, Replay, ReplayedTrace, SkippedVm, SnapshotResult, Uncompared, Vm,
};
use crate::snapshot::Snapshot;
use crate::trace::{Lost, Missing};
use crate::vtcr::Vtcr;

/// What to read, and how much to keep.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which form of the traces.
    pub source: Source,
    /// Differences to keep of each snapshot; all are counted.
    pub keep_differences: usize,
    /// Whether to keep the debugfs dump of the rebuilt table at each snapshot.
    pub keep_dumps: bool,
    /// How the rebuilt tables are walked.
    pub walker: WalkerKind,
}

impl Default for Options {
    fn default() -> Self {
        Self { source: Source::Auto, keep_differences: 10, keep_dumps: false, walker: WalkerKind::Upstream }
    }
}

/// Replays the capture in `directory`: traces `ops.*.jsonl.gz` or `trace.*.txt.gz`, snapshots `s2.*.jsonl.gz`
/// or, where there are none, dumps `ptdump.*.txt`, and `env.json`.
///
/// Errors: [`CaptureError`], one, for the first bad file. Differences are not errors.
///
/// ```no_run
/// use std::path::Path;
/// let replay = capture::replay_directory(Path::new("data/captures/deb-max"), capture::Options::default())?;
/// assert_eq!(replay.totals().differing, 0);
/// # Ok::<(), capture::CaptureError>(())
/// ```
pub fn replay_directory(directory: &Path, options: Options) -> Result<Replay, CaptureError> {
    let capture = Capture::read(directory, options.source)?;
    for scenario in &capture.scenarios {
        counted(scenario, &capture.env)?;
    }
    let mut machine = Machine::new(&capture, options, directory)?;
    for scenario in &capture.scenarios {
        machine.run(scenario)?;
    }
    Ok(machine.finish())
}

/// Compares a packed file's records with the number that `env.json` gives.
fn counted(scenario: &Scenario, env: &Environment) -> Result<(), CaptureError> {
    let Some(&counted) = env.ops_records.get(&scenario.name).filter(|_| scenario.is_packed) else {
        return Ok(());
    };
    let held =
        scenario.trace.records.len() as u64 + scenario.trace.missing.map_or(0, |missing| missing.count);
    if held == counted {
        return Ok(());
    }
    let last = scenario.trace.records.last().map_or(1, |record| record.line as usize);
    let cause = format!("its records go up to number {held}, env.json counts {counted}");
    Err(scenario.blame().cut(last, cause, "as many as env.json counts"))
}

type Stage2 = Table<Native<Off>>;

/// A VM's table while it is replayed.
struct Live {
    table: Stage2,
    hardware_af: bool,
    /// Its destruction has begun, which leaves descriptors as they were: there is nothing to compare.
    in_teardown: bool,
    /// Its place in [`Replay::vms`].
    vm: usize,
}

/// A snapshot or a dump that waits for its mark.
struct Waiting<'a> {
    file: &'a str,
    what: What<'a>,
}

#[derive(Clone, Copy)]
enum What<'a> {
    Snapshot(&'a Snapshot),
    Dump(&'a Dump),
}

/// The state of a replay.
struct Machine<'a> {
    env: &'a Environment,
    options: Options,
    replay: Replay,
    /// Tables by `pgt`. A pgt that is not there was never seen created, or is destroyed.
    live: HashMap<u64, Live>,
    skipped: BTreeMap<u64, SkippedVm>,
    waiting: BTreeMap<&'a str, Waiting<'a>>,
    unnamed: Vec<Unnamed<'a>>,
    attribution: Attribution,
    /// Table pages that each task took since its last operation: when.
    pages: HashMap<u32, Vec<u64>>,
    task: Env<EventLog>,
    done: Vec<Tlbi>,
}

/// A dump that names no moment: it is compared at each one that it may be of, until it fits.
struct Unnamed<'a> {
    file: &'a str,
    dump: &'a Dump,
    best: Option<SnapshotResult>,
}

impl<'a> Machine<'a> {
    fn new(capture: &'a Capture, options: Options, directory: &Path) -> Result<Self, CaptureError> {
        let Capture { env, snapshots, dumps, .. } = capture;
        let mut waiting: BTreeMap<&str, Waiting<'_>> = BTreeMap::new();
        let mut unnamed = Vec::new();
        let mut uncompared = Vec::new();
        for (file, snapshot) in snapshots {
            if let Some(why) = &snapshot.failed {
                let why = format!("the recorder could not read the table: {why}");
                uncompared.push(Uncompared { name: snapshot.name.clone(), file: file.clone(), why });
            } else if waiting
                .insert(&snapshot.name, Waiting { file, what: What::Snapshot(snapshot) })
                .is_some()
            {
                return Err(CaptureError::Format {
                    at: Place::new(file, snapshot.line),
                    cause: format!("there is another snapshot {}", snapshot.name),
                    expected: "a name for each".into(),
                });
            }
        }
        for (file, dump) in dumps {
            match &dump.name {
                // Descriptors say more than attributes: where both were taken, they are compared.
                Some(name) => drop(waiting.entry(name).or_insert(Waiting { file, what: What::Dump(dump) })),
                None => unnamed.push(Unnamed { file, dump, best: None }),
            }
        }
        let lost = env.dropped_events.values().filter(|&&events| events > 0).map(|&events| Lost {
            file: directory.join("env.json").display().to_string(),
            line: 1,
            cpu: None,
            events: Some(events),
        });
        let replay =
            Replay { kernel: env.kernel.clone(), lost: lost.collect(), uncompared, ..Replay::default() };
        Ok(Self {
            env,
            options,
            replay,
            live: HashMap::new(),
            skipped: BTreeMap::new(),
            waiting,
            unnamed,
            attribution: Attribution::default(),
            pages: HashMap::new(),
            task: Env::new(EventLog::default()),
            done: Vec::new(),
        })
    }

    fn run(&mut self, scenario: &Scenario) -> Result<(), CaptureError> {
        let trace = &scenario.trace;
        let skipped_before: u64 = self.skipped.values().map(|vm| vm.operations).sum();
        let mut operations = 0;
        for record in &trace.records {
            operations += u64::from(record.event.table().is_some());
            self.record(record, scenario)?;
        }
        let skipped: u64 = self.skipped.values().map(|vm| vm.operations).sum();
        if let Some(missing) = trace.missing {
            if skipped == skipped_before && trace.unentered.is_empty() {
                return Err(Missing::error(missing, scenario.blame()));
            }
            let (file, Missing { line, count }) = (scenario.file.clone(), missing);
            self.replay.lost.push(Lost { file, line, cpu: None, events: Some(count) });
        }
        self.moment(&format!("the end of {}", scenario.file), None);
        self.replay.lost.extend(trace.lost.iter().cloned());
        self.replay.traces.push(ReplayedTrace {
            scenario: scenario.name.clone(),
            records: trace.records.len() as u64,
            operations,
            unentered: trace.unentered.len() as u64,
            unreturned: trace.unreturned.len() as u64,
        });
        Ok(())
    }

    fn record(&mut self, record: &Record, scenario: &Scenario) -> Result<(), CaptureError> {
        if let Some(what) = tlbi(&record.event) {
            self.attribution.invalidated(record, what);
        } else if let Some(pgt) = record.event.table() {
            self.operation(record, pgt, scenario)?;
        } else if let Event::Init { pgt, mmu, vtcr, ret: 0, .. } = record.event {
            self.create(pgt, mmu, vtcr, record, scenario)?;
        } else if let Event::InitStage2Mmu { kvm, mmu, ret: 0, .. } = record.event {
            // It encloses the creation of the table, and so returns after it.
            if let Some(vm) = self.replay.vms.iter_mut().rev().find(|vm| vm.mmu == mmu) {
                vm.kvm.get_or_insert(kvm);
            }
            self.attribution.passed(record);
        } else if let Event::ZallocPage { .. } = record.event {
            self.pages.entry(record.pid).or_default().push(record.t1_us);
        } else if let Some(mark) = record.event.snapshot() {
            self.compare(mark.name, mark.pgt);
        } else {
            self.attribution.passed(record);
        }
        Ok(())
    }

    fn create(
        &mut self,
        pgt: u64,
        mmu: u64,
        register: u64,
        record: &Record,
        scenario: &Scenario,
    ) -> Result<(), CaptureError> {
        let odd = |why: String| {
            let cause = format!("vtcr {register:#x} is of no table: {why}");
            scenario.blame().format(
                record.line as usize,
                cause,
                "a VTCR_EL2 with granule, T0SZ and SL0 that fit",
            )
        };
        let vtcr = Vtcr::read(register).ok_or_else(|| odd("TG0 is reserved".into()))?;
        let config = Config { walker: self.options.walker, ..vtcr.config(self.env) };
        let table = Table::new(config).map_err(|error| odd(error.to_string()))?;
        let hardware_af = vtcr.hardware_af && self.env.hardware_af;
        let number = self.replay.vms.len() as u32 + 1;
        self.replay.vms.push(Vm { number, pgt, mmu, kvm: None, vtcr: register, operations: 0 });
        self.live.insert(pgt, Live { table, hardware_af, in_teardown: false, vm: self.replay.vms.len() - 1 });
        Ok(())
    }

    fn operation(&mut self, record: &Record, pgt: u64, scenario: &Scenario) -> Result<(), CaptureError> {
        let taken = self.pages.get_mut(&record.pid).map_or(0, |pages| {
            let taken = pages.iter().filter(|&&t_us| t_us >= record.t0_us).count();
            pages.clear();
            taken
        });
        if !self.live.contains_key(&pgt) {
            let first = Place::new(&scenario.file, record.line as usize);
            self.skipped.entry(pgt).or_insert(SkippedVm { pgt, operations: 0, first }).operations += 1;
            self.attribution.not_replayed(record, "operation on a table whose creation the trace missed");
            return Ok(());
        }
        if let Some(ret) = failure(&record.event) {
            *self.replay.failed.entry((record.event.op(), ret)).or_default() += 1;
            let class = format!("{} that returned {ret} and was not replayed", record.event.op());
            self.attribution.not_replayed(record, &class);
            return Ok(());
        }
        if is_teardown(&record.event) && !self.live[&pgt].in_teardown {
            self.moment("the teardown of its VM", Some(pgt));
            self.live.entry(pgt).and_modify(|live| live.in_teardown = true);
        }
        let live = &self.live[&pgt];
        let prot = |bits: u64| {
            self.env.prot(bits).ok_or_else(|| {
                let (major, minor) = self.env.version;
                let cause = format!("prot {bits:#x} has bits that kernel {major}.{minor} does not know");
                scenario.blame().format(record.line as usize, cause, "the kernel's version in env.json")
            })
        };
        let (table, task) = (&live.table, &mut self.task);
        task.log.events.clear();
        let hardware_af = live.hardware_af;
        // The kernel's return code and the replay's, where both have one that says the same.
        let (want, got) = match record.event {
            Event::Map { addr, size, phys, prot: bits, flags, ret, .. } => {
                let walk = if flags & SHARED != 0 { Walk::Shared } else { Walk::Exclusive };
                (ret, code(table.map(task, walk, addr, size, phys, prot(bits)?)))
            }
            Event::Unmap { addr, size, ret, .. } => (ret, code(table.unmap(task, addr, size))),
            Event::Wrprotect { addr, size, ret, .. } => (ret, code(table.wrprotect(task, addr, size))),
            Event::RelaxPerms { addr, prot: bits, ret, .. } => {
                (ret, code(table.relax_perms(task, addr, prot(bits)?)))
            }
            Event::Split { addr, size, ret, .. } => {
                // A level-1 block is split in two steps when the cache cannot hold the whole subtree.
                if taken > 0 {
                    task.memcache = MemoryCache::limited(taken as u64);
                }
                let got = code(table.split(task, addr, size));
                task.memcache = MemoryCache::unlimited();
                (ret, got)
            }
            Event::TestClearYoung { addr, size, mkold, ret, .. } => {
                let young = table.test_clear_young(task, addr, size, mkold);
                // Where hardware sets access flags, the kernel sees more of them than the replay.
                if hardware_af { (0, 0) } else { (i32::from(ret), i32::from(young)) }
            }
            Event::Mkyoung { addr, .. } => (0, done(|| table.mkyoung(task, addr))),
            Event::Flush { addr, size, .. } => (0, code(table.flush(task, addr, size))),
            Event::DestroyRange { addr, size, .. } => (0, done(|| table.destroy_range(task, addr, size))),
            Event::DestroyPgd { .. } => (0, done(|| table.destroy_pgd())),
            Event::Destroy { .. } => (0, done(|| table.destroy(task))),
            _ => unreachable!("Event::table names these"),
        };
        self.done.clear();
        self.done.extend(self.task.log.events.iter().filter_map(|event| match event {
            Done::Tlbi(what) => Some(*what),
            _ => None,
        }));
        let page_size = (self.options.walker == WalkerKind::Fast).then(|| live.table.geometry().page_size());
        self.attribution.replayed(&scenario.file, record, &self.done, page_size);
        if want == got {
            self.replay.answers.agreed += 1;
        } else {
            let at = Place::new(&scenario.file, record.line as usize);
            self.replay.answers.differing.push(AnswerDifference { at, op: record.event.op(), want, got });
        }
        self.replay.vms[live.vm].operations += 1;
        if matches!(record.event, Event::DestroyPgd { .. } | Event::Destroy { .. }) {
            self.live.remove(&pgt);
        }
        Ok(())
    }

    /// Compares what waits for the mark `name`.
    fn compare(&mut self, name: &str, pgt: Option<u64>) {
        self.moment(&format!("the mark {name}"), pgt);
        let Some(Waiting { file, what }) = self.waiting.remove(name) else { return };
        let pgt = match what {
            What::Snapshot(snapshot) => Some(snapshot.pgt),
            What::Dump(_) => pgt,
        };
        match self.table(pgt) {
            Ok(live) => {
                let (against, comparison) = self.comparison(live, what);
                let vm = self.replay.vms[live.vm].number;
                let (name, file) = (name.to_owned(), file.to_owned());
                let dump = self.options.keep_dumps.then(|| live.table.dump());
                self.replay.snapshots.push(SnapshotResult { name, file, vm, against, comparison, dump });
            }
            Err(why) => {
                self.replay.uncompared.push(Uncompared { name: name.to_owned(), file: file.to_owned(), why });
            }
        }
    }

    /// Compares the dumps that name no moment, at one that they may be of.
    fn moment(&mut self, moment: &str, pgt: Option<u64>) {
        let mut unnamed = std::mem::take(&mut self.unnamed);
        if let Ok(live) = self.table(pgt) {
            for Unnamed { file, dump, best } in &mut unnamed {
                if best.as_ref().is_some_and(|best| best.comparison.differing == 0) {
                    continue;
                }
                let (against, comparison) = self.comparison(live, What::Dump(dump));
                let vm = self.replay.vms[live.vm].number;
                let (name, file) = (format!("dump of line {}, at {moment}", dump.line), (*file).to_owned());
                let dump = self.options.keep_dumps.then(|| live.table.dump());
                *best = Some(SnapshotResult { name, file, vm, against, comparison, dump });
            }
        }
        self.unnamed = unnamed;
    }

    fn comparison(&self, live: &Live, what: What<'_>) -> (Against, Comparison) {
        let rules = Rules { hardware_af: live.hardware_af, keep: self.options.keep_differences };
        match what {
            What::Snapshot(snapshot) => {
                (Against::Descriptors, compare_entries(&snapshot.entries, &live.table, rules))
            }
            What::Dump(dump) => (Against::Attributes, compare_attributes(&dump.ranges, &live.table, rules)),
        }
    }

    /// The table that a snapshot is of: the one it names, or the only one there is.
    fn table(&self, pgt: Option<u64>) -> Result<&Live, String> {
        match pgt {
            Some(pgt) => self.live.get(&pgt).ok_or_else(|| match self.skipped.get(&pgt) {
                Some(_) => format!("its VM (pgt {pgt:#x}) was skipped, the trace missed its creation"),
                None => format!("no VM with pgt {pgt:#x} lives at its mark"),
            }),
            None => match self.live.len() {
                1 => Ok(self.live.values().next().expect("there is one")),
                n => Err(format!("{n} VMs live at its mark, which names none (pgt=0x...)")),
            },
        }
    }

    fn finish(mut self) -> Replay {
        for (name, Waiting { file, .. }) in std::mem::take(&mut self.waiting) {
            let why = "no mark `SNAPSHOT` of this name is in the traces".to_owned();
            self.replay.uncompared.push(Uncompared { name: name.to_owned(), file: file.to_owned(), why });
        }
        for Unnamed { file, dump, best } in std::mem::take(&mut self.unnamed) {
            match best {
                Some(best) => self.replay.snapshots.push(best),
                None => self.replay.uncompared.push(Uncompared {
                    name: format!("dump of line {}", dump.line),
                    file: file.to_owned(),
                    why: "no moment of the traces has exactly one VM".to_owned(),
                }),
            }
        }
        self.replay.skipped_vms = self.skipped.into_values().collect();
        self.replay.invalidations = self.attribution.finish();
        self.replay
    }
}

/// `KVM_PGTABLE_WALK_SHARED`: `mmu_lock` is held for read.
const SHARED: u64 = 8;

fn code(result: Result<(), Errno>) -> i32 {
    result.map_or_else(Errno::code, |()| 0)
}

fn done(operation: impl FnOnce()) -> i32 {
    operation();
    0
}

/// The return code of an operation that the kernel did not carry out.
fn failure(event: &Event) -> Option<i32> {
    match *event {
        Event::Map { ret, .. }
        | Event::Unmap { ret, .. }
        | Event::Wrprotect { ret, .. }
        | Event::RelaxPerms { ret, .. }
        | Event::Split { ret, .. } => (ret != 0).then_some(ret),
        _ => None,
    }
}

fn is_teardown(event: &Event) -> bool {
    matches!(event, Event::DestroyRange { .. } | Event::DestroyPgd { .. } | Event::Destroy { .. })
}
