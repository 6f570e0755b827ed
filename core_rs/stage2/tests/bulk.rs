//! A state made in bulk is the state that operations make, and either walker destroys either table.

use runtime::native::Native;
use stage2::{Config, Env, Granule, Harm, NoLog, Prot, Table, Walk, WalkerKind};

type Real = Table<Native>;

fn table(config: Config, walker: WalkerKind) -> Real {
    Real::new(Config { walker, ..config }).unwrap()
}

/// Every entry, but for the addresses of tables, which depend on the order in which these were taken; counts with them.
fn content(table: &Real) -> Vec<(i8, u64, u64, u64)> {
    let mut content = Vec::new();
    table.for_each_entry(|entry| {
        let link = stage2::is_table(entry.desc, entry.level);
        content.push((
            entry.level,
            entry.ipa,
            if link { 1 } else { entry.desc },
            table.ref_count(entry.table),
        ));
    });
    content
}

#[test]
fn a_fill_is_a_map_of_each_leaf() {
    for walker in WalkerKind::ALL {
        for (granule, leaf) in [
            (Granule::K4, 1_u64 << 12),
            (Granule::K4, 1 << 21),
            (Granule::K16, 1 << 14),
            (Granule::K64, 1 << 16),
        ] {
            let config = Config::new(granule, 40);
            // Not whole tables, and where larger leaves would fit.
            let (ipa, size) = (1 << 30, 1030 * leaf);
            let (filled, mapped) = (table(config, walker), table(config, walker));
            let mut env = Env::new(NoLog);
            filled.fill(&mut env, ipa, size, 1 << 30, Prot::R, leaf).unwrap();
            for start in (ipa..ipa + size).step_by(leaf as usize) {
                mapped.map(&mut env, Walk::Exclusive, start, leaf, start, Prot::R).unwrap();
            }
            assert_eq!(content(&filled), content(&mapped), "{granule} {leaf} {walker}");
            for ipa in (ipa - leaf..ipa + size + leaf).step_by(leaf as usize / 2) {
                assert_eq!(filled.hardware_walk(ipa).desc, filled.get_leaf(ipa).unwrap().desc, "{ipa:#x}");
            }
            assert_eq!(filled.hardware_walk(1 << 40).desc, 0, "outside of the IPA space");
        }
    }
}

#[test]
fn either_walker_empties_and_destroys_either_table() {
    for walker in WalkerKind::ALL {
        for by in WalkerKind::ALL {
            let table = table(Config::default(), walker);
            let mut env = Env::new(NoLog);
            let size = 3 << 21;
            table.fill(&mut env, 0, size, 0, Prot::R | Prot::W, 4096).unwrap();
            table.unmap_by(by, &mut env, 0, size).unwrap();
            assert_eq!((table.live_pages(), content(&table).len()), (2, 0), "{walker} by {by}");
            // A cached way to a table that went must not be taken.
            table.map(&mut env, Walk::Shared, 4096, 4096, 4096, Prot::R).unwrap();
            table.unmap_by(by, &mut env, 0, size).unwrap();
            table.map(&mut env, Walk::Shared, 8192, 4096, 8192, Prot::R).unwrap();
            assert_eq!(table.table_stats().pages, 1, "{walker} by {by}");
            table.fill(&mut env, 1 << 21, size, 0, Prot::R, 4096).unwrap();
            for start in (0..1 << 40).step_by(1 << 30) {
                table.destroy_range_by(by, &mut env, start, 1 << 30);
            }
            table.destroy_pgd();
            assert_eq!((table.live_pages(), table.harm()), (0, Harm::default()), "{walker} by {by}");
        }
    }
}
