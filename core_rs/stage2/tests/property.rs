//! Random operation sequences against a plain map from address to leaf, over all geometries.
//!
//! The model knows nothing of table pages: it keeps leaves by address and follows the facts in words. After
//! every operation the table must hold exactly the model's leaves, every count must be 1 plus the non-zero
//! entries, and no page may be lost.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use runtime::native::Native;
use runtime::{Runtime as _, site};
use stage2::{
    Config, Entry, Env, Errno, Event, EventLog, Found, Granule, Harm, Kind, LAST_LEVEL, PageId, Prot,
    Stopped, Table, Tlbi, Walk, WalkerKind, access,
};

/// What the model keeps of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mapped {
    Memory { pa: u64, prot: Prot, accessed: bool },
    Annotation(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaf {
    level: i8,
    mapped: Mapped,
}

#[derive(Clone, Debug)]
enum Op {
    Map { shared: bool, at: Spot, size: Extent, pa_page: u64, prot: Prot },
    Unmap { at: Spot, size: Extent },
    Wrprotect { at: Spot, size: Extent },
    Mkyoung { at: Spot },
    TestClearYoung { at: Spot, size: Extent, mkold: bool },
    RelaxPerms { at: Spot, prot: Prot },
    Split { at: Spot, size: Extent },
    Annotate { at: Spot, pages: u64, kind: u8, value: u64 },
}

/// A place in the IPA space that is meaningful in every geometry.
#[derive(Clone, Copy, Debug)]
struct Spot {
    /// In blocks of the lowest block level, from the start or back from the end of the space.
    block: u64,
    from_end: bool,
    page: u64,
}

/// So many blocks of the last block level, and so many pages more or fewer.
#[derive(Clone, Copy, Debug)]
struct Extent {
    blocks: u64,
    pages: i64,
}

struct Model<'a> {
    table: &'a Table<Native>,
    leaves: BTreeMap<u64, Leaf>,
}

impl Model<'_> {
    fn size(&self, level: i8) -> u64 {
        self.table.geometry().granule_size(level)
    }

    fn ipa(&self, spot: Spot) -> u64 {
        let block = self.size(LAST_LEVEL - 1);
        let space = 1_u64 << self.table.geometry().ipa_bits();
        let ipa = spot.block * block + spot.page * self.size(LAST_LEVEL);
        if spot.from_end { space.saturating_sub(ipa + block) } else { ipa }
    }

    fn bytes(&self, extent: Extent) -> u64 {
        let bytes = (extent.blocks * self.size(LAST_LEVEL - 1)) as i64;
        (bytes + extent.pages * self.size(LAST_LEVEL) as i64).max(0) as u64
    }

    fn range(&self, ipa: u64, size: u64) -> Result<(u64, u64), Errno> {
        let page = self.size(LAST_LEVEL);
        let start = ipa / page * page;
        let end = (start + size).div_ceil(page) * page;
        if end > 1 << self.table.geometry().ipa_bits() { Err(Errno::Range) } else { Ok((start, end)) }
    }

    /// Addresses of the leaves that touch `[start, end)`.
    fn touching(&self, start: u64, end: u64) -> Vec<u64> {
        if start >= end {
            return Vec::new();
        }
        let touches = |(&at, leaf): (&u64, &Leaf)| (at + self.size(leaf.level) > start).then_some(at);
        self.leaves.range(..end).filter_map(touches).collect()
    }

    fn permitted(&self, prot: Prot) -> Result<(), Errno> {
        let special = prot.contains(Prot::DEVICE) || prot.contains(Prot::NORMAL_NC);
        let both = prot.contains(Prot::DEVICE | Prot::NORMAL_NC);
        let apart = prot.contains(Prot::PX) != prot.contains(Prot::UX);
        let bad = both || special && prot.intersects(Prot::X) || apart && !self.table.config().xnx;
        if bad { Err(Errno::Inval) } else { Ok(()) }
    }

    fn map(&mut self, shared: bool, ipa: u64, size: u64, pa: u64, prot: Prot) -> Result<(), Errno> {
        self.permitted(prot)?;
        let (start, end) = self.range(ipa, size)?;
        let mut at = start;
        while at < end {
            let pa = pa + (at - start);
            let fits = |&level: &i8| {
                let size = self.size(level);
                let block_ok = self.table.geometry().leaf_allowed(level) && !self.table.config().force_pte;
                (block_ok || level == LAST_LEVEL)
                    && at.is_multiple_of(size)
                    && pa.is_multiple_of(size)
                    && end - at >= size
            };
            let level = (self.table.geometry().start_level()..=LAST_LEVEL).find(fits).unwrap();
            let mut mapped = Mapped::Memory { pa, prot, accessed: true };
            if let Some(old) = self.leaves.get(&at).filter(|leaf| leaf.level == level)
                && let Mapped::Memory { pa: old_pa, prot: old_prot, accessed } = old.mapped
            {
                let memory = |prot: Prot| {
                    if self.table.config().as_s1 {
                        Prot::empty()
                    } else {
                        prot & (Prot::DEVICE | Prot::NORMAL_NC)
                    }
                };
                if (old_pa, memory(old_prot), accessed) == (pa, memory(prot), true) {
                    if old_prot & Prot::SW == prot & Prot::SW {
                        return Err(Errno::Again);
                    }
                    let rwx = Prot::R | Prot::W | Prot::X;
                    if !shared && old_prot & rwx == prot & rwx {
                        mapped = Mapped::Memory { pa, prot, accessed }; // stored without a break
                    }
                }
            }
            for old in self.touching(at, at + self.size(level)) {
                self.leaves.remove(&old);
            }
            self.leaves.insert(at, Leaf { level, mapped });
            at += self.size(level);
        }
        Ok(())
    }

    fn annotate(&mut self, ipa: u64, size: u64, kind: u8, value: u64) -> Result<(), Errno> {
        if kind < 2 || value & (1 | 0xf << 60) != 0 {
            return Err(Errno::Inval);
        }
        let (start, end) = self.range(ipa, size)?;
        for old in self.touching(start, end) {
            self.leaves.remove(&old);
        }
        for at in (start..end).step_by(self.size(LAST_LEVEL) as usize) {
            let mapped = Mapped::Annotation(u64::from(kind) << 60 | value);
            self.leaves.insert(at, Leaf { level: LAST_LEVEL, mapped });
        }
        Ok(())
    }

    fn split(&mut self, ipa: u64, size: u64) -> Result<(), Errno> {
        let (start, end) = self.range(ipa, size)?;
        for at in self.touching(start, end) {
            let leaf = self.leaves[&at];
            if let Mapped::Memory { pa, prot, .. } = leaf.mapped
                && leaf.level < LAST_LEVEL
            {
                let prot = prot - (Prot::DEVICE | Prot::NORMAL_NC);
                for offset in (0..self.size(leaf.level)).step_by(self.size(LAST_LEVEL) as usize) {
                    let mapped = Mapped::Memory { pa: pa + offset, prot, accessed: true };
                    self.leaves.insert(at + offset, Leaf { level: LAST_LEVEL, mapped });
                }
            }
        }
        Ok(())
    }

    /// Calls `change` for the memory leaves that touch the range.
    fn each(&mut self, (start, end): (u64, u64), mut change: impl FnMut(&mut Prot, &mut bool)) -> bool {
        let mut any = false;
        for at in self.touching(start, end) {
            let leaf = self.leaves.get_mut(&at).unwrap();
            if let Mapped::Memory { prot, accessed, .. } = &mut leaf.mapped {
                change(prot, accessed);
                any = true;
            }
        }
        any
    }

    /// Applies an operation to the table alone; answers what it answers.
    fn carry_out(&self, env: &mut Env<EventLog>, op: &Op) -> (Result<(), Errno>, bool) {
        let table = self.table;
        let mut young = false;
        let result = match *op {
            Op::Map { shared, at, size, pa_page, prot } => {
                let walk = if shared { Walk::Shared } else { Walk::Exclusive };
                table.map(env, walk, self.ipa(at), self.bytes(size), pa_page * self.size(LAST_LEVEL), prot)
            }
            Op::Unmap { at, size } => table.unmap(env, self.ipa(at), self.bytes(size)),
            Op::Wrprotect { at, size } => table.wrprotect(env, self.ipa(at), self.bytes(size)),
            Op::Mkyoung { at } => {
                table.mkyoung(env, self.ipa(at));
                Ok(())
            }
            Op::TestClearYoung { at, size, mkold } => {
                young = table.test_clear_young(env, self.ipa(at), self.bytes(size), mkold);
                Ok(())
            }
            Op::RelaxPerms { at, prot } => table.relax_perms(env, self.ipa(at), prot),
            Op::Split { at, size } => table.split(env, self.ipa(at), self.bytes(size)),
            Op::Annotate { at, pages, kind, value } => {
                table.annotate(env, self.ipa(at), pages * self.size(LAST_LEVEL), kind, value)
            }
        };
        (result, young)
    }

    /// Applies an operation to the model and to the table; both must answer the same.
    fn apply(&mut self, env: &mut Env<EventLog>, op: &Op) -> Result<(), TestCaseError> {
        let table = self.table;
        let page = self.size(LAST_LEVEL);
        match *op {
            Op::Map { shared, at, size, pa_page, prot } => {
                let (ipa, size, pa) = (self.ipa(at), self.bytes(size), pa_page * page);
                let walk = if shared { Walk::Shared } else { Walk::Exclusive };
                prop_assert_eq!(
                    table.map(env, walk, ipa, size, pa, prot),
                    self.map(shared, ipa, size, pa, prot)
                );
            }
            Op::Unmap { at, size } => {
                let (ipa, size) = (self.ipa(at), self.bytes(size));
                let range = self.range(ipa, size);
                prop_assert_eq!(table.unmap(env, ipa, size), range.map(|_| ()));
                for old in range.map_or(Vec::new(), |(start, end)| self.touching(start, end)) {
                    self.leaves.remove(&old);
                }
            }
            Op::Wrprotect { at, size } => {
                let (ipa, size) = (self.ipa(at), self.bytes(size));
                let range = self.range(ipa, size);
                prop_assert_eq!(table.wrprotect(env, ipa, size), range.map(|_| ()));
                if let Ok(range) = range {
                    self.each(range, |prot, _| prot.remove(Prot::W));
                }
            }
            Op::Mkyoung { at } => {
                let ipa = self.ipa(at);
                table.mkyoung(env, ipa);
                self.each((ipa, ipa + page), |_, accessed| *accessed = true);
            }
            Op::TestClearYoung { at, size, mkold } => {
                let (ipa, size) = (self.ipa(at), self.bytes(size));
                let mut young = false;
                if let Ok(range) = self.range(ipa, size) {
                    self.each(range, |_, accessed| {
                        young |= *accessed;
                        *accessed &= !mkold;
                    });
                }
                prop_assert_eq!(table.test_clear_young(env, ipa, size, mkold), young);
            }
            Op::RelaxPerms { at, prot } => {
                let ipa = self.ipa(at);
                let result = table.relax_perms(env, ipa, prot);
                let wrong = prot.intersects(Prot::SW)
                    || prot.intersects(Prot::X) && self.permitted(prot & Prot::X).is_err();
                if wrong {
                    prop_assert_eq!(result, Err(Errno::Inval));
                    return Ok(());
                }
                let found = self.each((ipa, ipa + page), |old, _| {
                    *old |= prot & (Prot::R | Prot::W);
                    if prot.intersects(Prot::X) {
                        *old = (*old - Prot::X) | (prot & Prot::X);
                    }
                });
                prop_assert_eq!(result, if found { Ok(()) } else { Err(Errno::Again) });
            }
            Op::Split { at, size } => {
                let (ipa, size) = (self.ipa(at), self.bytes(size));
                prop_assert_eq!(table.split(env, ipa, size), self.split(ipa, size));
            }
            Op::Annotate { at, pages, kind, value } => {
                let (ipa, size) = (self.ipa(at), pages * page);
                prop_assert_eq!(
                    table.annotate(env, ipa, size, kind, value),
                    self.annotate(ipa, size, kind, value)
                );
            }
        }
        Ok(())
    }

    /// The table's leaves are the model's, and its counts and pages add up.
    fn check(&self) -> Result<(), TestCaseError> {
        <Native>::rcu_barrier(site!("property:check"));
        let encoding = self.table.encoding();
        let mut leaves = BTreeMap::new();
        let mut nonzero: HashMap<PageId, u64> = HashMap::new();
        self.table.for_each_entry(|Entry { level, ipa, desc, table, .. }| {
            *nonzero.entry(table).or_default() += 1;
            let mapped = match (Entry { level, ipa, desc, table, index: 0 }).kind() {
                Kind::Table => {
                    nonzero.entry(self.table.child(desc)).or_default();
                    return;
                }
                Kind::Invalid => Mapped::Annotation(desc),
                Kind::Block | Kind::Page => {
                    let memory = match encoding.memory_type(desc) {
                        Some("device") => Prot::DEVICE,
                        Some("nc") => Prot::NORMAL_NC,
                        _ => Prot::empty(),
                    };
                    let prot = encoding.prot(desc) | memory;
                    Mapped::Memory { pa: encoding.decode_pa(desc), prot, accessed: access(desc).2 }
                }
            };
            leaves.insert(ipa, Leaf { level, mapped });
        });
        let mut expected = self.leaves.clone();
        if self.table.config().as_s1 {
            for leaf in expected.values_mut() {
                if let Mapped::Memory { prot, .. } = &mut leaf.mapped {
                    prot.remove(Prot::DEVICE | Prot::NORMAL_NC); // one encoding for all three
                }
            }
        }
        prop_assert_eq!(&leaves, &expected);
        for (&page, &entries) in &nonzero {
            prop_assert_eq!(self.table.ref_count(page), 1 + entries, "count of {:?}", page);
        }
        prop_assert_eq!(self.table.live_pages(), self.table.table_stats().tables);
        Ok(())
    }
}

/// Every non-zero entry: level, address, descriptor (a table's without its address), the count of its table page,
/// and whether it is a leaf or an annotation.
fn entries(table: &Table<Native>) -> Vec<(i8, u64, u64, u64, bool)> {
    let mut entries = Vec::new();
    table.for_each_entry(|entry| {
        let leaf = entry.kind() != Kind::Table;
        let desc = if leaf { entry.desc } else { table.encoding().attributes(entry.desc) };
        entries.push((entry.level, entry.ipa, desc, table.ref_count(entry.table), leaf));
    });
    entries
}

/// A page that was mapped and is no more, or differently, was invalidated (permissions that only grow and
/// ageing aside: there the caller invalidates, or nobody must).
fn stale_translations(before: &Model<'_>, after: &BTreeMap<u64, Leaf>, events: &[Event]) -> Vec<u64> {
    let geometry = before.table.geometry();
    let covered = |ipa: u64, level: i8| {
        events.iter().any(|event| match *event {
            Event::Tlbi(Tlbi::Ipa { ipa: at, level: Some(hint) }) => {
                hint == level && at >> geometry.level_shift(level) == ipa >> geometry.level_shift(level)
            }
            Event::Tlbi(Tlbi::Range { ipa: at, pages }) => {
                let size = geometry.granule_size(level);
                at < ipa + size && ipa < at + pages * geometry.page_size()
            }
            Event::Tlbi(Tlbi::Vmid) => true,
            _ => false,
        })
    };
    let translation = |leaf: &Leaf| match leaf.mapped {
        Mapped::Memory { pa, .. } => Some((leaf.level, pa)),
        Mapped::Annotation(_) => None,
    };
    before
        .leaves
        .iter()
        .filter(|(ipa, leaf)| {
            translation(leaf).is_some()
                && after.get(ipa).and_then(translation) != translation(leaf)
                && !covered(**ipa, leaf.level)
        })
        .map(|(&ipa, _)| ipa)
        .collect()
}

fn configs() -> impl Strategy<Value = Config> {
    let shape = prop_oneof![
        (32_u32..=48).prop_map(|bits| (Granule::K4, bits, None, false)),
        (32_u32..=52).prop_map(|bits| (Granule::K4, bits, None, true)),
        (32_u32..=48).prop_map(|bits| (Granule::K16, bits, None, false)),
        (32_u32..=52).prop_map(|bits| (Granule::K16, bits, None, true)),
        (32_u32..=52).prop_map(|bits| (Granule::K64, bits, None, false)),
        (1_u32..=4, 1_u32..=8).prop_map(|(level, more)| {
            (Granule::K4, (12 + 2 * level + more).min(12 + 4 * level + 4), Some(level), false)
        }),
    ];
    (shape, any::<[bool; 7]>()).prop_map(|((granule, ipa_bits, level_bits, lpa2), on)| Config {
        granule,
        ipa_bits,
        level_bits,
        lpa2,
        fwb: on[0],
        xnx: on[1],
        tlb_range: on[2],
        as_s1: on[3],
        force_pte: on[4] && on[5],
        walker: if on[6] { WalkerKind::Fast } else { WalkerKind::Upstream },
        ..Config::default()
    })
}

fn spots() -> impl Strategy<Value = Spot> {
    (0_u64..4, any::<bool>(), 0_u64..4).prop_map(|(block, from_end, page)| Spot { block, from_end, page })
}

fn extents() -> impl Strategy<Value = Extent> {
    prop_oneof![
        (0_u64..1, 0_i64..5).prop_map(|(blocks, pages)| Extent { blocks, pages }),
        (1_u64..3, -1_i64..2).prop_map(|(blocks, pages)| Extent { blocks, pages }),
    ]
}

fn prots(software: bool) -> impl Strategy<Value = Prot> {
    let special = prop_oneof![
        6 => Just(Prot::empty()),
        1 => Just(Prot::DEVICE),
        1 => Just(Prot::NORMAL_NC),
    ];
    (0_u64..16, special, 0_u64..4).prop_map(move |(rwx, special, sw)| {
        let sw = if software { Prot::from_bits_truncate(sw << 55) } else { Prot::empty() };
        Prot::from_bits_truncate(rwx) | special | sw
    })
}

fn ops() -> impl Strategy<Value = Op> {
    let pa_pages = prop_oneof![Just(0_u64), Just(1 << 13), Just(1 << 14), Just((1 << 13) + 1)];
    prop_oneof![
        6 => (any::<bool>(), spots(), extents(), pa_pages, prots(true))
            .prop_map(|(shared, at, size, pa_page, prot)| Op::Map { shared, at, size, pa_page, prot }),
        2 => (spots(), extents()).prop_map(|(at, size)| Op::Unmap { at, size }),
        1 => (spots(), extents()).prop_map(|(at, size)| Op::Wrprotect { at, size }),
        1 => spots().prop_map(|at| Op::Mkyoung { at }),
        1 => (spots(), extents(), any::<bool>())
            .prop_map(|(at, size, mkold)| Op::TestClearYoung { at, size, mkold }),
        1 => (spots(), prots(true)).prop_map(|(at, prot)| Op::RelaxPerms { at, prot }),
        1 => (spots(), extents()).prop_map(|(at, size)| Op::Split { at, size }),
        1 => (spots(), 0_u64..4, 0_u8..6, prop_oneof![Just(0xbeef000), Just(1), Just(1 << 60), Just(0)])
            .prop_map(|(at, pages, kind, value)| Op::Annotate { at, pages, kind, value }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_holds_what_a_plain_map_of_leaves_holds(
        config in configs(),
        sequence in prop::collection::vec(ops(), 1..24),
    ) {
        let table = Table::new(config).unwrap();
        let mut env = Env::new(EventLog::default());
        let mut model = Model { table: &table, leaves: BTreeMap::new() };
        for op in &sequence {
            let before = Model { table: &table, leaves: model.leaves.clone() };
            env.log.events.clear();
            model.apply(&mut env, op)?;
            model.check()?;
            prop_assert_eq!(stale_translations(&before, &model.leaves, &env.log.events), Vec::<u64>::new());
        }
        table.destroy(&mut env);
        prop_assert_eq!(table.live_pages(), 0);
        prop_assert_eq!(table.harm(), Harm::default());
    }

    #[test]
    fn the_fast_walker_leaves_what_upstream_leaves_and_invalidates_no_less(
        config in configs(),
        cmo in any::<bool>(),
        sequence in prop::collection::vec(ops(), 1..24),
    ) {
        let with = |walker| Table::new(Config { walker, cmo, ..config }).unwrap();
        let tables = [with(WalkerKind::Upstream), with(WalkerKind::Fast)];
        let mut envs = tables.each_ref().map(|_| Env::new(EventLog::default()));
        for op in &sequence {
            let mut answers = Vec::new();
            for (table, env) in tables.iter().zip(&mut envs) {
                env.log.events.clear();
                let model = Model { table, leaves: BTreeMap::new() };
                answers.push(model.carry_out(env, op));
            }
            prop_assert_eq!(&answers[0], &answers[1]);
            <Native>::rcu_barrier(site!("property:compare"));
            let [upstream, fast] = tables.each_ref().map(entries);
            prop_assert_eq!(upstream, fast);
            let [upstream, fast] = tables.each_ref().map(Table::page_totals);
            prop_assert_eq!(upstream, fast);
            let [upstream, fast] = envs.each_ref().map(|env| &env.log.events);
            let page_size = tables[0].geometry().page_size();
            for event in upstream {
                let covered = match *event {
                    Event::Tlbi(one) => fast
                        .iter()
                        .any(|wide| matches!(wide, Event::Tlbi(wide) if wide.includes(one, page_size))),
                    _ => fast.contains(event),
                };
                prop_assert!(covered, "{:x?} is not in {:x?}", event, fast);
            }
        }
    }

    #[test]
    fn array_calls_do_what_calls_one_by_one_do(
        config in configs(),
        pages in prop::collection::vec((0_u64..3, 0_u64..6), 1..40),
        gone in prop::collection::vec((0_u64..3, 0_u64..6), 1..40),
    ) {
        let (many, single) = (Table::<Native>::new(config).unwrap(), Table::<Native>::new(config).unwrap());
        let mut env = Env::new(EventLog::default());
        let (page, block) = (many.geometry().page_size(), many.geometry().granule_size(LAST_LEVEL - 1));
        let address = |&(block_number, page_number): &(u64, u64)| block_number * block + page_number * page;
        let space = 1_u64 << many.geometry().ipa_bits();
        let ipas: Vec<u64> = pages.iter().map(address).filter(|ipa| *ipa < space).collect();
        let pas: Vec<u64> = (0..ipas.len() as u64).map(|n| n * page).collect();

        let mapped = many.map_many(&mut env, Walk::Exclusive, &ipas, &pas, Prot::R);
        let failed = ipas.iter().zip(&pas).enumerate().find_map(|(index, (&ipa, &pa))| {
            let mapped = single.map(&mut env, Walk::Exclusive, ipa, page, pa, Prot::R);
            mapped.err().map(|errno| Stopped { index, errno })
        });
        prop_assert_eq!(mapped.err(), failed);
        prop_assert_eq!(entries(&many), entries(&single));

        let mut found = Found::default();
        many.lookup_many(&ipas, &mut found).unwrap();
        for (index, &ipa) in ipas.iter().enumerate() {
            let leaf = single.get_leaf(ipa).unwrap();
            prop_assert_eq!((found.level[index], found.desc[index]), (leaf.level, leaf.desc));
            prop_assert_eq!(found.pa[index], single.encoding().decode_pa(leaf.desc));
        }

        let gone: Vec<u64> = gone.iter().map(address).filter(|ipa| *ipa < space).collect();
        env.log.events.clear();
        many.unmap_many(&mut env, &gone).unwrap();
        let gathered = std::mem::take(&mut env.log.events);
        for &ipa in &gone {
            single.unmap(&mut env, ipa, page).unwrap();
        }
        prop_assert_eq!(entries(&many), entries(&single));
        for event in &env.log.events {
            let Event::Tlbi(one) = *event else { continue };
            let covers = |event: &Event| matches!(event, Event::Tlbi(wide) if wide.includes(one, page));
            prop_assert!(gathered.iter().any(covers), "{:x?} is not in {:x?}", one, gathered);
        }
        let listed: Vec<(u64, i8, u64)> =
            entries(&many).into_iter().filter(|entry| entry.4).map(|(level, ipa, desc, ..)| (ipa, level, desc)).collect();
        let leaves = many.leaves(&false.into());
        let columns: Vec<(u64, i8, u64)> =
            leaves.ipa.iter().zip(&leaves.level).zip(&leaves.desc).map(|((&ipa, &level), &desc)| (ipa, level, desc)).collect();
        prop_assert_eq!(columns, listed);
    }

    #[test]
    fn destroying_in_steps_frees_what_one_walk_frees(
        config in configs(),
        sequence in prop::collection::vec(ops(), 1..12),
        step_level in 0_i8..=3,
    ) {
        let table = Table::new(config).unwrap();
        let mut env = Env::new(EventLog::default());
        let mut model = Model { table: &table, leaves: BTreeMap::new() };
        for op in &sequence {
            model.apply(&mut env, op)?;
        }
        <Native>::rcu_barrier(site!("property:destroy"));
        // No step may be smaller than a leaf. 64 of them, and one over the rest.
        let step = table.geometry().granule_size(step_level.min(table.geometry().min_block_level()));
        let space = 1_u64 << table.geometry().ipa_bits();
        let steps = (space / step.min(space)).min(64);
        let mut at = 0;
        for _ in 0..steps {
            let size = step.min(space - at);
            table.destroy_range(&mut env, at, size);
            at += size;
        }
        table.destroy_range(&mut env, at, space - at);
        prop_assert_eq!(table.live_pages(), table.geometry().root_pages() as u64);
        table.destroy_pgd();
        prop_assert_eq!((table.live_pages(), table.harm()), (0, Harm::default()));
    }
}
