//! The overlaps in real traces of the teardown race, against what their recorder counted; and odd traces.

mod common;

use std::collections::HashMap;
use std::fmt::Write;

use capture::{Overlap, Shared, Source, Trace, overlaps, overlaps_in, parse_ftrace, parse_ops};
use common::{Directory, bytes, captures, text};
use serde_json::Value;

const RACES: [(&str, &str, bool); 4] = [
    ("race/deb-a", "S6a", true),
    ("race/deb-a", "S6f", true),
    ("race/deb-first", "S6b", false),
    ("race/own-b1", "S6b", true),
];

/// What the trace of an iteration shows, found by the pair of its tasks.
#[derive(Default)]
struct Found<'a> {
    flushes: Vec<&'a Overlap>,
    caches: Vec<&'a Overlap>,
}

fn by_tasks(found: &[Overlap]) -> HashMap<[u32; 2], Found<'_>> {
    let mut out: HashMap<[u32; 2], Found<'_>> = HashMap::new();
    for overlap in found {
        let mut pids = overlap.sides.map(|side| side.pid);
        pids.sort_unstable();
        let found = out.entry(pids).or_default();
        match overlap.shared {
            Shared::Flush => found.flushes.push(overlap),
            Shared::Cache { .. } => found.caches.push(overlap),
        }
    }
    out
}

fn us(seconds: &Value) -> u64 {
    (seconds.as_f64().unwrap() * 1e6).round() as u64
}

/// Compares every iteration; answers how many flushes overlapped, and how many filled caches.
fn agree(trace: &Trace, stats: &Value, file: &str) -> [usize; 2] {
    let all = overlaps(trace);
    let mut found = by_tasks(&all);
    let mut sums = [0; 2];
    for iteration in stats.as_array().unwrap() {
        let number = &iteration["iter"];
        let mut pids = ["t1", "t2"].map(|task| iteration[task].as_u64().unwrap() as u32);
        pids.sort_unstable();
        let Found { flushes, caches } = found.remove(&pids).unwrap_or_default();
        let at = format!("{file}, iteration {number}");
        assert_eq!(flushes.len(), usize::from(iteration["overlap"] == true), "{at}");
        assert_eq!(caches.len(), usize::from(iteration["mc_overlap"] == true), "{at}");
        let filled = caches.iter().filter(|cache| cache.both_filled()).count();
        assert_eq!(filled, usize::from(iteration["mc_both_nonzero"] == true), "{at}");
        sums = [sums[0] + flushes.len(), sums[1] + filled];
        for overlap in flushes {
            let intervals: Vec<_> = iteration["iv"].as_object().unwrap().values().collect();
            let start = intervals.iter().map(|one| us(&one[0])).max().unwrap();
            let end = intervals.iter().map(|one| us(&one[1])).min().unwrap();
            assert_eq!((overlap.start_us, overlap.end_us), (start, end), "{at}");
            assert_eq!(end - start, iteration["ov_us"].as_u64().unwrap(), "{at}");
            let kvm = intervals[0][2].as_str().unwrap();
            assert_eq!(format!("{:#x}", overlap.kvm.unwrap()), kvm, "{at}");
            let names = iteration["iv"].as_object().unwrap().keys();
            assert!(
                overlap.sides.iter().all(|side| names.clone().any(|name| side.comm.as_str() == name)),
                "{at}"
            );
        }
        for cache in caches {
            let flush = all.iter().find(|flush| flush.shared == Shared::Flush && flush.kvm == cache.kvm);
            assert!(flush.is_some(), "{at}: the cache is that of the VM that is flushed");
        }
    }
    assert!(found.is_empty(), "{file}: overlaps outside the iterations, of tasks {:?}", found.keys());
    sums
}

#[test]
fn every_iteration_of_every_race_is_as_its_recorder_counted() {
    let mut sums = HashMap::new();
    for (capture, scenario, is_packed) in RACES {
        let stats = serde_json::from_slice(&bytes(&format!("{capture}/{scenario}.stats.json"))).unwrap();
        let file = format!("{capture}/trace.{scenario}.txt.gz");
        let raw = parse_ftrace(&bytes(&file), &file).unwrap();
        let sum = agree(&raw, &stats, &file);
        sums.insert((capture, scenario), sum);
        if is_packed {
            let file = format!("{capture}/ops.{scenario}.jsonl.gz");
            let packed = parse_ops(&bytes(&file), &file).unwrap();
            assert_eq!(agree(&packed, &stats, &file), sum);
            assert_eq!(overlaps(&packed), overlaps(&raw), "{file}");
        }
    }
    // The table of data/captures/README.md.
    assert_eq!(sums[&("race/deb-a", "S6a")], [83, 0]);
    assert_eq!(sums[&("race/deb-first", "S6b")], [73, 39]);
    assert_eq!(sums[&("race/own-b1", "S6b")], [26, 21]);
}

#[test]
fn a_directory_gives_each_trace_once() {
    let race = captures().join("race");
    let files = |source| -> Vec<String> {
        let found = overlaps_in(&race, source).unwrap();
        found
            .iter()
            .map(|one| one.file.strip_prefix(&race.display().to_string()).unwrap().to_owned())
            .collect()
    };
    let traces = ["/deb-a/trace.S6a.txt.gz", "/deb-a/trace.S6f.txt.gz", "/deb-first/trace.S6b.txt.gz"];
    assert_eq!(files(Source::Raw), [&traces[..], &["/own-b1/trace.S6b.txt.gz"]].concat());
    let auto = ["/deb-a/ops.S6a.jsonl.gz", "/deb-a/ops.S6f.jsonl.gz", traces[2], "/own-b1/ops.S6b.jsonl.gz"];
    assert_eq!(files(Source::Auto), auto);
    let none = overlaps_in(Directory::new().path(), Source::Auto).unwrap_err().to_string();
    assert!(none.contains("it holds no trace; expected ops.*.jsonl.gz"), "{none}");
}

#[test]
fn orderly_teardowns_of_three_machines_overlap_nowhere() {
    for capture in ["deb-max", "deb-n1", "deb16k-n1"] {
        let found = overlaps_in(&captures().join(capture), Source::Packed).unwrap();
        assert!(found.iter().all(|trace| trace.overlaps.is_empty()), "{capture}");
    }
}

#[test]
fn the_form_of_a_file_is_told_by_its_content() {
    let directory = Directory::new();
    directory
        .put("one", bytes("race/own-b1/ops.S6b.jsonl.gz"))
        .put("other.log", text("race/own-b1/trace.S6b.txt.gz"));
    let of = |file: &str| overlaps_in(&directory.path().join(file), Source::Auto).unwrap().remove(0).overlaps;
    assert_eq!(of("one"), of("other.log"));
    let mut cut = bytes("race/own-b1/ops.S6b.jsonl.gz");
    cut.truncate(cut.len() / 2);
    directory.put("one", cut);
    let error = overlaps_in(&directory.path().join("one"), Source::Auto).unwrap_err();
    assert!(error.to_string().contains("/one:"), "{error}");
    assert!(error.to_string().contains("the gzip stream breaks off"), "{error}");
}

/// A trace of lines `task time event`: `T1 100 flush 0xf0`, `T1 250 /flush`; times in microseconds.
fn trace(lines: &str) -> Trace {
    let mut text = String::new();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<_> = line.split_whitespace().collect();
        let (pid, cpu) = if words[0] == "T1" { (93, 0) } else { (94, 1) };
        let time: u64 = words[1].parse().unwrap();
        let (event, function, fields) = match words[2] {
            "flush" => ("flush_shadow_all", "kvm_arch_flush_shadow_all", format!(" kvm={}", words[3])),
            "free" => {
                let fields = format!(" mc={} nobjs={} objects=0xa000", words[3], words[4]);
                ("mc_free", "kvm_mmu_free_memory_cache", fields)
            }
            "destroy" => ("destroy_vm", "kvm_destroy_vm", format!(" kvm={}", words[3])),
            "init" => {
                ("init_stage2_mmu", "kvm_init_stage2_mmu", format!(" kvm={} mmu=0x1 type=0x28", words[3]))
            }
            "/flush" => ("flush_shadow_all_ret", "kvm_arch_flush_shadow_all", String::new()),
            "/free" => ("mc_free_ret", "kvm_mmu_free_memory_cache", String::new()),
            "/destroy" => ("destroy_vm_ret", "kvm_destroy_vm", String::new()),
            "/init" => ("init_stage2_mmu_ret", "kvm_init_stage2_mmu", " ret=0".to_owned()),
            other => panic!("{other}"),
        };
        let place = if event.ends_with("_ret") {
            format!("(caller+0x1/0x2 <- {function})")
        } else {
            format!("({function}+0x0/0x80)")
        };
        writeln!(text, "  {}-{pid} [00{cpu}] d..1. 1.{time:06}: {event}: {place}{fields}", words[0]).unwrap();
    }
    parse_ftrace(text.as_bytes(), "trace.txt").unwrap()
}

fn intervals(lines: &str) -> Vec<(u64, u64)> {
    overlaps(&trace(lines)).iter().map(|one| (one.start_us - 1_000_000, one.end_us - 1_000_000)).collect()
}

#[test]
fn a_vm_at_the_address_of_an_earlier_one_is_another_vm() {
    let found = intervals(
        "T1 100 flush 0xf0\nT1 200 /flush\nT2 250 destroy 0xf0\nT2 300 /destroy
         T2 400 init 0xf0\nT2 410 /init\nT2 500 flush 0xf0\nT2 600 /flush",
    );
    assert_eq!(found, []);
}

#[test]
fn a_flush_that_never_returned_overlaps_until_its_vm_or_the_trace_ends() {
    assert_eq!(
        intervals("T1 100 flush 0xf0\nT2 200 flush 0xf0\nT2 300 /flush\nT1 350 free 0xf8 1"),
        [(200, 300)]
    );
    assert_eq!(intervals("T1 100 flush 0xf0\nT2 200 flush 0xf0\nT1 350 free 0xf8 1"), [(200, 350)]);
    // T1 dies inside; its VM is destroyed, and another one is at its address later.
    let found = intervals(
        "T1 100 flush 0xf0\nT2 250 destroy 0xf0\nT2 300 /destroy
         T2 400 init 0xf0\nT2 410 /init\nT2 500 flush 0xf0\nT2 600 /flush",
    );
    assert_eq!(found, []);
    let found = overlaps(&trace("T1 100 flush 0xf0\nT2 200 flush 0xf0\nT2 300 /flush"));
    assert_eq!(found[0].sides.map(|side| side.returned), [false, true]);
}

#[test]
fn calls_that_share_no_more_than_an_instant_or_have_one_task_do_not_overlap() {
    assert_eq!(intervals("T1 100 flush 0xf0\nT1 200 /flush\nT2 200 flush 0xf0\nT2 300 /flush"), []);
    assert_eq!(intervals("T1 100 flush 0xf0\nT2 150 flush 0xe0\nT1 200 /flush\nT2 300 /flush"), []);
    assert_eq!(intervals("T1 100 free 0xf0 1\nT1 200 /free\nT1 300 free 0xf0 1\nT1 400 /free"), []);
}

#[test]
fn a_cache_that_one_side_found_empty_is_told_apart_and_belongs_to_the_vm_around_it() {
    let found = overlaps(&trace(
        "T1 100 flush 0xf0\nT1 110 free 0xf8 5\nT2 120 free 0xf8 0\nT1 200 /free\nT1 210 /flush\nT2 220 /free",
    ));
    let [cache] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (cache.shared, cache.kvm, cache.both_filled()),
        (Shared::Cache { mc: 0xf8 }, Some(0xf0), false)
    );
    assert_eq!(cache.sides.map(|side| side.objects.unwrap().0), [5, 0]);
    assert_eq!((cache.start_us, cache.end_us), (1_000_120, 1_000_200));
}

#[test]
fn the_ladder_of_a_real_double_free_reads_as_it_happened() {
    let trace = parse_ftrace(&bytes("race/own-b1/trace.S6b.txt.gz"), "trace.txt").unwrap();
    let found = overlaps(&trace);
    let cache = found.iter().find(|one| matches!(one.shared, Shared::Cache { .. })).unwrap();
    let want = "
        time   T1 (pid 42)                               T2 (pid 43)
    5.146953                                             kvm_destroy_vm
    5.153770   kvm_mmu_notifier_release
    5.153851     kvm_arch_flush_shadow_all
    5.156972       kvm_mmu_free_memory_cache: nobjs=511
    5.157162                                               mmu_notifier_unregister
    5.157302                                                 kvm_mmu_notifier_release
    5.157367                                                   kvm_arch_flush_shadow_all
    5.157428 |                                                   kvm_mmu_free_memory_cache: nobjs=440
    5.158940 |     kvm_mmu_free_memory_cache returns
    5.158988     kvm_arch_flush_shadow_all returns
    5.181798                                                     kvm_mmu_free_memory_cache returns
";
    assert_eq!(format!("\n{}", cache.ladder), want);
}

#[test]
fn a_table_destroyed_in_a_thousand_ranges_is_one_step_of_a_ladder() {
    let trace = parse_ftrace(&bytes("race/deb-a/trace.S6f.txt.gz"), "trace.txt").unwrap();
    let ladder = &overlaps(&trace)[0].ladder;
    assert!(ladder.steps.len() < 40, "{ladder}");
    let ranges = ladder.steps.iter().filter(|step| step.function == "kvm_pgtable_stage2_destroy_range");
    assert_eq!(ranges.map(|step| step.count).sum::<u64>(), 1024, "{ladder}");
    assert!(ladder.to_string().contains("kvm_free_stage2_pgd: pgt=NULL"), "{ladder}");
}
