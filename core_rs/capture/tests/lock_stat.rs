//! `/proc/lock_stat` and the debugfs dump of a real kernel, as rows.

mod common;

use capture::{DumpFlags, PointKind, Side, parse_lock_stat, parse_ptdump};
use common::bytes;

#[test]
fn a_real_lock_stat_is_read_whole() {
    let name = "own-a76-S8/lock_stat.txt.gz";
    let stat = parse_lock_stat(&bytes(name), name).unwrap();
    assert_eq!(stat.version, "0.4");
    let row = &stat.rows[0];
    assert_eq!((row.class.as_str(), row.side), ("&rq->__lock", None));
    assert_eq!((row.con_bounces, row.contentions, row.acquisitions), (841, 843, 515_084));
    assert_eq!((row.waittime_total_us, row.holdtime_avg_us), (51_385.39, 38.31));
    let mmap: Vec<_> = stat.rows.iter().filter(|row| row.class == "&mm->mmap_lock").collect();
    assert_eq!(mmap.iter().map(|row| row.side).collect::<Vec<_>>(), [Some(Side::Write), Some(Side::Read)]);
    let point = &stat.points[0];
    assert_eq!((point.class.as_str(), point.kind, point.count), ("&rq->__lock", PointKind::Contended, 284));
    assert_eq!((point.address, point.symbol.as_str()), (0xffff800080728e04, "__schedule+0x17c/0xfb8"));
    for kind in [PointKind::Contended, PointKind::Contending] {
        let of_class =
            stat.points.iter().filter(|point| point.class == "&irq_desc_lock_class" && point.kind == kind);
        assert_eq!(of_class.map(|point| point.count).sum::<u64>(), 314, "{kind:?}");
    }
    assert!(stat.rows.iter().any(|row| row.class.contains("mmu_lock") && row.side == Some(Side::Read)));
}

#[test]
fn a_lock_stat_that_a_splat_has_stopped_says_so() {
    let name = "race/own-b1/lock_stat.txt.gz";
    let stat = parse_lock_stat(&bytes(name), name).unwrap();
    assert_eq!(stat.warnings, ["lock debugging disabled!! - possibly due to a lockdep warning"]);
}

#[test]
fn a_real_dump_is_read_with_the_recorders_names() {
    let name = "own-a76-S8/ptdump.S8.txt";
    let dumps = parse_ptdump(&bytes(name), name).unwrap();
    let names: Vec<_> = dumps.iter().map(|dump| dump.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["S8.blocks", "S8.eager_split", "S8.dirty", "S8.collapsed"]);
    let range = dumps[0].ranges[1];
    assert_eq!((range.start, range.end, range.level), (0x4000_0000, 0x4000_1000, 3));
    let executable = DumpFlags::PX | DumpFlags::UX;
    assert_eq!(range.flags, executable | DumpFlags::R | DumpFlags::W | DumpFlags::AF | DumpFlags::MAPPED);
    assert_eq!(dumps[1].ranges[5].flags, DumpFlags::R | DumpFlags::AF | DumpFlags::MAPPED);
    assert!(dumps[0].ranges[0].flags.is_empty());
}
