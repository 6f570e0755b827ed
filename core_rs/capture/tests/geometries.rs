//! Captures of machines that are not among the real ones here: other granules, IPA sizes and features. The
//! history and its snapshot are made with a table, written down as a recorder would, and replayed.

mod common;

use std::fmt::Write as _;

use capture::{Options, replay_directory};
use common::Directory;
use runtime::native::{Native, Off};
use stage2::{Config, Env, Granule, Kind, NoLog, Prot, Table, Walk};

/// `VTCR_EL2` as the architecture lays it out: T0SZ, SL0, TG0, DS.
fn vtcr(config: &Config, start_level: i8) -> u64 {
    let (tg0, base) = match config.granule {
        Granule::K4 => (0b00, 2),
        Granule::K64 => (0b01, 3),
        Granule::K16 => (0b10, 3),
    };
    u64::from(config.lpa2) << 32
        | tg0 << 14
        | ((base - start_level) as u64) << 6
        | u64::from(64 - config.ipa_bits)
}

fn snapshot(table: &Table<Native<Off>>, vtcr: u64) -> String {
    let geometry = table.geometry();
    let (mut rows, mut count) = (String::new(), 0);
    let mut bases = [(0_u64, 0_u64); 4]; // by level: where the page lies, the first address that it maps
    table.for_each_entry(|entry| {
        let (page, first) = bases[entry.level as usize];
        let at = page + ((entry.ipa - first) >> geometry.level_shift(entry.level)) * 8;
        if entry.kind() == Kind::Table {
            bases[entry.level as usize + 1] = (table.encoding().decode_pa(entry.desc), entry.ipa);
        }
        let kind = format!("{:?}", entry.kind()).to_lowercase();
        let (level, ipa, desc) = (entry.level, entry.ipa, entry.desc);
        writeln!(
            rows,
            r#"{{"l":{level},"ipa":"{ipa:#x}","desc":"{desc:#018x}","at":"{at:#x}","k":"{kind}"}}"#
        )
        .unwrap();
        count += 1;
    });
    let header = r#""pgd_phys":"0x0","pgt":"0xfff0","vm_state":"paused","error":null"#;
    format!("{{\"snapshot\":\"X.end\",{header},\"vtcr\":\"{vtcr:#x}\",\"entries\":{count}}}\n{rows}")
}

fn environment(config: &Config) -> String {
    let features = [
        (true, "GICv3 CPU interface"),
        (config.fwb, "Stage-2 Force Write-Back"),
        (config.xnx, "XNX"),
        (config.tlb_range, "TLB range maintenance instructions"),
    ];
    let lines: Vec<_> = features
        .into_iter()
        .filter(|(is_there, _)| *is_there)
        .map(|(_, name)| format!("\"CPU features: detected: {name}\""))
        .collect();
    format!(r#"{{"kernel":"Linux version 7.3.4 (gcc)","dmesg_kvm":[{}]}}"#, lines.join(","))
}

#[track_caller]
fn replays_exactly(config: Config) {
    let table = Table::<Native<Off>>::new(config).unwrap();
    let mut task = Env::new(NoLog);
    let geometry = *table.geometry();
    let (page, block) = (geometry.page_size(), geometry.granule_size(2));
    let vtcr = vtcr(&config, geometry.start_level());
    let top = (1_u64 << config.ipa_bits) - block;
    let mut ops = format!(
        "{{\"i\":0,\"t0\":\"0.000001\",\"t1\":\"0.000002\",\"op\":\"s2_init\",\"cpu\":0,\"pid\":1,\"comm\":\"vmm\",\
         \"pgt\":\"0xfff0\",\"mmu\":\"0x1\",\"mm_ops\":\"0x0\",\"flags\":\"0x0\",\"vtcr\":\"{vtcr:#x}\",\"ret\":\"0\"}}\n"
    );
    let mut index = 1;
    let mut call = |op: &str, addr: u64, size: u64, rest: &str| {
        let t = 10 * index;
        writeln!(
            ops,
            "{{\"i\":{index},\"t0\":\"0.{t:06}\",\"t1\":\"0.{:06}\",\"op\":\"{op}\",\"cpu\":0,\"pid\":1,\"comm\":\"vmm\",\
             \"pgt\":\"0xfff0\",\"addr\":\"{addr:#x}\",\"size\":\"{size:#x}\"{rest}}}",
            t + 5
        )
        .unwrap();
        index += 1;
    };
    let maps = [
        (0, block, block, Prot::R | Prot::W),
        (block, page, block * 3, Prot::R | Prot::X),
        (block * 2, block, block * 5, Prot::R | Prot::W | Prot::X),
        (block * 3, page, block * 7, Prot::R | Prot::W | Prot::DEVICE),
        (top, block, block * 9, Prot::R),
        (top + page, page, block * 8, Prot::R | Prot::W),
    ];
    for (addr, size, phys, prot) in maps {
        table.map(&mut task, Walk::Shared, addr, size, phys, prot).unwrap();
        let rest = format!(r#","phys":"{phys:#x}","prot":"{:#x}","flags":"0x8","ret":"0""#, prot.bits());
        call("s2_map", addr, size, &rest);
    }
    table.wrprotect(&mut task, 0, block).unwrap();
    call("s2_wrprotect", 0, block, r#","ret":"0""#);
    table.split(&mut task, 0, block).unwrap();
    call("s2_split", 0, block, r#","mc":"0x0","ret":"0""#);
    table.test_clear_young(&mut task, block * 2, block, true);
    call("s2_test_clear_young", block * 2, block, r#","mkold":"0x1","ret":"0x1""#);
    table.unmap(&mut task, page, page * 2).unwrap();
    call("s2_unmap", page, page * 2, r#","ret":"0""#);
    writeln!(
        ops,
        r#"{{"i":{index},"t1":"0.900000","op":"mark","text":"SNAPSHOT X.end","cpu":0,"pid":1,"comm":"vmm"}}"#
    )
    .unwrap();

    let directory = Directory::new();
    directory
        .put("env.json", environment(&config))
        .put("ops.X.jsonl", ops)
        .put("s2.X.jsonl", snapshot(&table, vtcr));
    let replay = replay_directory(directory.path(), Options::default()).unwrap();
    let sum = replay.totals();
    assert!(sum.entries > geometry.entries() as u64 - 2, "{config:?}");
    assert_eq!((sum.exact, sum.differing), (sum.entries, 0), "{config:?}: {:x?}", replay.snapshots);
    assert_eq!(replay.answers.differing, [], "{config:?}");
}

#[test]
fn every_granule_and_ipa_size_is_read_from_vtcr() {
    for (granule, sizes) in
        [(Granule::K4, [34, 40, 48]), (Granule::K16, [36, 40, 48]), (Granule::K64, [40, 48, 52])]
    {
        for ipa_bits in sizes {
            replays_exactly(Config::new(granule, ipa_bits));
        }
    }
}

#[test]
fn lpa2_is_read_from_vtcr() {
    for granule in [Granule::K4, Granule::K16] {
        for ipa_bits in [40, 48, 52] {
            replays_exactly(Config { lpa2: true, ..Config::new(granule, ipa_bits) });
        }
    }
}

#[test]
fn features_are_read_from_the_environment() {
    let config = Config::default();
    replays_exactly(Config { fwb: false, ..config });
    replays_exactly(Config { xnx: false, ..config });
    replays_exactly(Config { tlb_range: false, ..config });
}
