//! What is refused, what runs out, and what misuse does: each with its answer, none with undefined behaviour.

use runtime::native::Native;
use stage2::{
    Config, ConfigError, Env, Errno, Event, EventLog, Granule, Harm, MemoryCache, NoLog, Prot, Table, Tlbi,
    Walk, WalkerKind,
};

const RW: Prot = Prot::R.union(Prot::W);

fn table(config: Config) -> Table<Native> {
    Table::new(config).unwrap()
}

#[test]
fn destroying_a_range_twice_is_recorded_as_harm_and_suffered_by_nobody() {
    let (table, mut env) = (table(Config::default()), Env::new(NoLog));
    table.map(&mut env, Walk::Exclusive, 0, 1 << 30, 0, RW).unwrap();
    table.destroy_range(&mut env, 0, 1 << 30);
    assert_eq!(table.harm(), Harm::default());
    table.destroy_range(&mut env, 0, 1 << 30); // the block's count goes a second time, and the root with it
    table.destroy_pgd();
    assert_eq!(table.harm(), Harm { double_frees: 1, count_underflows: 0 });
}

#[test]
fn a_page_cache_that_runs_out_leaves_what_was_mapped_before() {
    let (table, mut env) = (table(Config::default()), Env::new(NoLog));
    env.memcache = MemoryCache::limited(2);
    let mapped = table.map(&mut env, Walk::Shared, 0x1f_f000, 0x2000, 0x1000, RW);
    assert_eq!(mapped, Err(Errno::NoMem), "the second page needs a third table");
    assert_eq!(table.table_stats().pages, 1);
    assert_eq!(env.memcache.left(), Some(0));
}

#[test]
fn pages_that_lie_ready_are_given_back_with_their_cache() {
    let table = table(Config::default());
    let mut env = Env::new(NoLog);
    assert!(table.top_up(&mut env.memcache, 8));
    assert_eq!(table.live_pages(), 2, "a page that lies ready is no table page yet");
    drop(env);
    let mut other = Env::new(NoLog);
    table.map(&mut other, Walk::Shared, 0, 0x1000, 0x1000, RW).unwrap();
    table.destroy(&mut other);
    assert_eq!((table.live_pages(), table.harm()), (0, Harm::default()));
}

#[test]
fn a_destroyed_table_answers_einval_until_it_has_a_root_again() {
    let (table, mut env) = (table(Config::default()), Env::new(NoLog));
    table.destroy(&mut env);
    assert_eq!(table.map(&mut env, Walk::Exclusive, 0, 0x1000, 0, RW), Err(Errno::Inval));
    assert_eq!(table.get_leaf(0), Err(Errno::Inval));
    assert!(table.dump_ranges().is_empty());
    table.init();
    assert_eq!(table.map(&mut env, Walk::Exclusive, 0, 0x1000, 0, RW), Ok(()));
}

#[test]
fn start_levels_and_concatenation_are_those_of_kvm() {
    // granule, IPA bits, start level, root pages (Arm ARM, D8.2.7: at most 16 concatenated tables)
    let facts = [
        (Granule::K4, 32, 2, 4),
        (Granule::K4, 34, 2, 16),
        (Granule::K4, 35, 1, 1),
        (Granule::K4, 39, 1, 1),
        (Granule::K4, 40, 1, 2),
        (Granule::K4, 43, 1, 16),
        (Granule::K4, 44, 0, 1),
        (Granule::K4, 48, 0, 1),
        (Granule::K16, 36, 2, 1),
        (Granule::K16, 40, 2, 16),
        (Granule::K16, 47, 1, 1),
        (Granule::K16, 48, 1, 2),
        (Granule::K64, 40, 2, 1),
        (Granule::K64, 46, 2, 16),
        (Granule::K64, 52, 1, 1),
    ];
    for (granule, ipa_bits, start_level, root_pages) in facts {
        let geometry = Config::new(granule, ipa_bits).geometry().unwrap();
        assert_eq!(
            (geometry.start_level(), geometry.root_pages()),
            (start_level, root_pages),
            "{granule} {ipa_bits}"
        );
    }
    let lpa2 = Config { lpa2: true, ..Config::new(Granule::K4, 52) }.geometry().unwrap();
    assert_eq!((lpa2.start_level(), lpa2.root_pages()), (0, 16));
}

#[test]
fn an_impossible_table_is_refused_with_the_value_and_what_would_be_right() {
    let refused = |config: Config| config.geometry().unwrap_err().to_string();
    assert_eq!(
        refused(Config::new(Granule::K4, 49)),
        "ipa_bits 49 is outside 32 to 48 (4K pages without LPA2)"
    );
    assert_eq!(
        refused(Config { start_level: Some(2), ..Config::default() }),
        "start_level 2 does not fit 40 IPA bits: 0 to 1 would"
    );
    assert_eq!(
        refused(Config { level_bits: Some(10), ..Config::default() }),
        "level_bits 10 is outside 1 to 9, the bits one level of this granule resolves"
    );
    assert_eq!("8K".parse::<Granule>(), Err(ConfigError::Granule("8K".to_owned())));
}

#[test]
fn the_fast_walker_invalidates_the_page_of_an_odd_unmap() {
    let table = Table::<Native>::new(Config { walker: WalkerKind::Fast, ..Config::default() }).unwrap();
    let mut env = Env::new(EventLog::default());
    table.map(&mut env, Walk::Exclusive, 0x1000, 0x3000, 0x8000, Prot::R).unwrap();
    table.unmap(&mut env, 0x2123, 1).unwrap();
    assert_eq!(env.log.events, [Event::Tlbi(Tlbi::Range { ipa: 0x2000, pages: 1 })]);
}
