//! The two walkers of this crate.

use std::hint::black_box;

use criterion::Criterion;
use runtime::native::Native;
use runtime::{Runtime as _, site};
use stage2::{Config, Env, Errno, NoLog, Prot, Table, Walk, WalkerKind};

use crate::bench;
use crate::guest::{BASE, Guest, LARGE, PA, PAGE, PAGES, Subject};

pub(crate) struct Ours<const FAST: bool> {
    table: Table<Native>,
    env: Env,
}

pub(crate) type Upstream = Ours<false>;
pub(crate) type Fast = Ours<true>;

impl<const FAST: bool> Ours<FAST> {
    fn map_as(&mut self, walk: Walk, page: u64) {
        let (ipa, pa) = (BASE + page * PAGE, PA + page * PAGE);
        self.table.map(&mut self.env, walk, ipa, PAGE, pa, prot()).expect("an empty page");
    }

    fn map_pages(&mut self, pages: u64, pa: u64) {
        self.table
            .map(&mut self.env, Walk::Exclusive, BASE, pages * PAGE, pa, prot())
            .expect("an empty range");
    }

    fn unmap_pages(&mut self, pages: u64) {
        self.table.unmap(&mut self.env, BASE, pages * PAGE).expect("in the space");
    }
}

fn prot() -> Prot {
    Prot::R | Prot::W
}

impl<const FAST: bool> Subject for Ours<FAST> {
    fn new() -> Self {
        let walker = if FAST { WalkerKind::Fast } else { WalkerKind::Upstream };
        let config = Config { walker, ..Config::default() };
        Self { table: Table::new(config).expect("the default is a table"), env: Env::new(NoLog) }
    }

    fn clear(&mut self) {
        self.unmap_pages(PAGES);
    }

    fn map(&mut self, page: u64) {
        self.map_as(Walk::Exclusive, page);
    }

    fn map_range(&mut self) -> bool {
        self.map_pages(PAGES, PA);
        true
    }

    fn look_up(&self, page: u64) {
        black_box(self.table.get_leaf(BASE + page * PAGE).expect("in the space").desc);
    }

    fn wrprotect(&mut self) -> bool {
        self.table.wrprotect(&mut self.env, BASE, PAGES * PAGE).expect("in the space");
        true
    }

    fn unmap(&mut self, page: u64) -> bool {
        self.table.unmap(&mut self.env, BASE + page * PAGE, PAGE).expect("in the space");
        true
    }

    fn destroy(&mut self) -> bool {
        self.table.destroy(&mut self.env);
        true
    }

    fn revive(&mut self) {
        if self.table.root().is_none() {
            self.table.init();
        }
    }
}

/// What only these walkers do.
pub(crate) fn only(criterion: &mut Criterion) {
    kernel_operations::<false>(criterion, "upstream");
    kernel_operations::<true>(criterion, "fast");
    halves::<false>(criterion, "upstream");
    halves::<true>(criterion, "fast");
    many::<false>(criterion, "upstream");
    many::<true>(criterion, "fast");
    bytes_a_page();
}

fn kernel_operations<const FAST: bool>(criterion: &mut Criterion, name: &str) {
    let guest = Guest::new();
    let mut subject = Ours::<FAST>::new();
    bench(criterion, "map-each-shared", name, &mut subject, Subject::clear, |subject| {
        guest.pages().for_each(|page| subject.map_as(Walk::Shared, page));
    });
    let refill = |subject: &mut Ours<FAST>| {
        subject.clear();
        subject.map_range();
    };
    let old = |subject: &mut Ours<FAST>| {
        subject.table.test_clear_young(&mut subject.env, BASE, PAGES * PAGE, true);
    };
    let young = |subject: &mut Ours<FAST>| {
        for page in guest.random() {
            subject.table.mkyoung(&mut subject.env, BASE + page * PAGE);
        }
    };
    refill(&mut subject);
    bench(criterion, "mkyoung-rcu", name, &mut subject, old, young);
    bench(criterion, "mkyoung", name, &mut subject, old, |subject| {
        // Inside a section of the caller's, the walk's own costs next to nothing.
        let _section = Native::<runtime::native::Off>::rcu_read(site!("bench"));
        young(subject);
    });
    bench(criterion, "unmap", name, &mut subject, refill, Subject::clear);
    let blocks = |subject: &mut Ours<FAST>| {
        subject.clear();
        subject.map_pages(PAGES, 0x1_0000_0000);
    };
    bench(criterion, "split", name, &mut subject, blocks, |subject| {
        subject.table.split(&mut subject.env, BASE, PAGES * PAGE).expect("an unlimited cache");
    });
}

/// Array calls on 2^20 pages.
fn many<const FAST: bool>(criterion: &mut Criterion, name: &str) {
    let guest = Guest::of(LARGE);
    let ipas: Vec<u64> = guest.random().map(|page| BASE + page * PAGE).collect();
    let pas: Vec<u64> = guest.random().map(|page| PA + page * PAGE).collect();
    let mut subject = Ours::<FAST>::new();
    let clear = |subject: &mut Ours<FAST>| subject.unmap_pages(LARGE);
    bench(criterion, "map-many", name, &mut subject, clear, |subject| {
        let mapped = subject.table.map_many(&mut subject.env, Walk::Exclusive, &ipas, &pas, prot());
        mapped.expect("empty pages");
    });
    bench(
        criterion,
        "look-up-many",
        name,
        &mut subject,
        |_| (),
        |subject| {
            let mut found = stage2::Found::default();
            subject.table.lookup_many(&ipas, &mut found).expect("in the space");
            black_box(&found);
        },
    );
    let refill = |subject: &mut Ours<FAST>| {
        subject.unmap_pages(LARGE);
        subject.map_pages(LARGE, PA);
    };
    bench(criterion, "unmap-many", name, &mut subject, refill, |subject| {
        subject.table.unmap_many(&mut subject.env, &ipas).expect("in the space");
    });
    refill(&mut subject);
    bench(
        criterion,
        "leaves",
        name,
        &mut subject,
        |_| (),
        |subject| {
            black_box(subject.table.leaves(&false.into()));
        },
    );
}

/// Threads that map shared and without a lock.
fn halves<const FAST: bool>(criterion: &mut Criterion, name: &str) {
    crate::halves(criterion, name, &mut Ours::<FAST>::new(), |subject, pages| {
        let mut env = Env::new(NoLog);
        for page in pages {
            let (ipa, pa) = (BASE + page * PAGE, PA + page * PAGE);
            // Another thread may install the table that both need.
            while subject.table.map(&mut env, Walk::Shared, ipa, PAGE, pa, prot()) == Err(Errno::Again) {}
        }
    });
}

/// Says how much memory the tables of a mapped guest take, counts included.
fn bytes_a_page() {
    let mut subject = Fast::new();
    subject.map_pages(LARGE, PA);
    let bytes = subject.table.memory_bytes() as f64 / LARGE as f64;
    println!("table memory, bytes a mapped page, counts included: {bytes:.3}");
}
