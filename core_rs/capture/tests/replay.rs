//! What real kernels did is rebuilt exactly, from either form of a trace; what a capture lacks is named.

mod common;

use capture::{Against, Event, Options, Replay, Source, parse_ftrace, parse_ops, replay_directory};
use stage2::WalkerKind;

use common::{Directory, bytes, captures, lines, text};

fn replay(directory: &Directory) -> Replay {
    replay_directory(directory.path(), Options::default()).unwrap()
}

#[test]
fn every_capture_replays_without_a_difference_with_both_walkers() {
    // VMs, snapshots, descriptors, equal but for AF, invalidations that agree
    let facts = [
        ("deb-max", (7, 35, 112_614, 1_085, 2_604)),
        ("deb-n1", (7, 35, 112_669, 1_573, 11_298)),
        ("deb16k-n1", (1, 22, 54_094, 264, 5_461)),
        ("own-a76-S8", (1, 4, 16_464, 0, 564)),
        ("race/deb-a", (204, 0, 0, 0, 8)),
        ("race/deb-first", (200, 0, 0, 0, 0)),
        ("race/own-b1", (0, 0, 0, 0, 0)),
    ];
    for ((capture, fact), walker) in facts.into_iter().flat_map(|fact| WalkerKind::ALL.map(|one| (fact, one)))
    {
        let options = Options { walker, ..Options::default() };
        let replay = replay_directory(&captures().join(capture), options).unwrap();
        let sum = replay.totals();
        let found =
            (replay.vms.len(), replay.snapshots.len(), sum.entries, sum.af_only, replay.invalidations.agreed);
        assert_eq!(found, fact, "{capture}");
        assert_eq!((sum.differing, sum.exact), (0, sum.entries - sum.af_only), "{capture}");
        assert_eq!(replay.invalidations.differing, [], "{capture}");
        assert_eq!(replay.answers.differing, [], "{capture}");
        assert_eq!(
            (&replay.uncompared[..], &replay.skipped_vms[..], &replay.lost[..]),
            (&[][..], &[][..], &[][..])
        );
        assert!(replay.traces.iter().all(|trace| trace.unentered + trace.unreturned == 0), "{capture}");
    }
}

#[test]
fn what_belongs_to_no_operation_is_listed_by_class() {
    let replay = replay_directory(&captures().join("deb16k-n1"), Options::default()).unwrap();
    let apart: Vec<_> =
        replay.invalidations.apart.iter().map(|(class, &count)| (class.as_str(), count)).collect();
    let classes = [
        ("dirty-log flush (after s2_wrprotect or s2_split)", 5),
        ("s2_relax_perms that returned -11 and was not replayed", 1),
    ];
    assert_eq!(apart, classes);
    assert_eq!(replay.failed[&("s2_map", -11)], 199);
}

#[test]
fn the_raw_trace_gives_the_records_of_the_packed_file() {
    let scenarios = ["S1", "S2", "S3", "S4", "S5", "S7", "S8", "S9"].map(|name| ("deb-max", name));
    let others = [("own-a76-S8", "S8"), ("race/deb-a", "S6a"), ("race/deb-a", "S6f"), ("race/own-b1", "S6b")];
    for (capture, scenario) in scenarios.into_iter().chain(others) {
        let (ops, trace) =
            (format!("{capture}/ops.{scenario}.jsonl.gz"), format!("{capture}/trace.{scenario}.txt.gz"));
        let packed = parse_ops(&bytes(&ops), &ops).unwrap();
        let mut raw = parse_ftrace(&bytes(&trace), &trace).unwrap();
        assert_eq!(raw.records.len(), packed.records.len(), "{trace}");
        for (raw, packed) in raw.records.iter_mut().zip(&packed.records) {
            raw.line = packed.line;
            assert_eq!(raw, packed, "{trace}");
        }
        assert_eq!((&raw.lost[..], &raw.unentered[..], raw.missing), (&[][..], &[][..], None), "{trace}");
    }
}

#[test]
fn the_raw_trace_gives_the_replay_of_the_packed_file() {
    for capture in ["deb-max", "own-a76-S8", "race/deb-a", "race/own-b1"] {
        let read = |source| {
            let options = Options { source, ..Options::default() };
            replay_directory(&captures().join(capture), options).unwrap()
        };
        assert_eq!(read(Source::Raw), read(Source::Packed), "{capture}");
        assert_eq!(read(Source::Auto), read(Source::Packed), "{capture}");
    }
}

#[test]
fn life_cycle_calls_are_typed_and_have_two_times() {
    let trace = parse_ops(&bytes("race/own-b1/ops.S6b.jsonl.gz"), "ops.S6b").unwrap();
    let flushes: Vec<_> =
        trace.records.iter().filter(|record| matches!(record.event, Event::FlushShadowAll { .. })).collect();
    let overlaps = flushes.iter().enumerate().any(|(place, one)| {
        flushes[place + 1..]
            .iter()
            .any(|other| one.event == other.event && one.t0_us < other.t1_us && other.t0_us < one.t1_us)
    });
    assert!(overlaps, "the run in which two flushes of one VM met");
    let filled =
        |event: &Event| matches!(event, Event::McFree { nobjs, objects, .. } if *nobjs > 0 && *objects != 0);
    assert!(trace.records.iter().any(|record| filled(&record.event)));
}

#[test]
fn the_dump_of_each_rebuilt_table_is_the_kernels_to_the_letter() {
    let directory = captures().join("own-a76-S8");
    let options = Options { keep_dumps: true, ..Options::default() };
    let replay = replay_directory(&directory, options).unwrap();
    let kernel = std::fs::read_to_string(directory.join("ptdump.S8.txt")).unwrap();
    let mut dumps = 0;
    for section in kernel.split("### ").skip(1) {
        let (title, text) = section.split_once('\n').unwrap();
        let name = title.split(' ').next().unwrap();
        let ours = replay.snapshots.iter().find(|snapshot| snapshot.name == name).unwrap();
        assert_eq!(ours.dump.as_deref(), Some(text), "{name}");
        dumps += 1;
    }
    assert_eq!(dumps, 4);
}

#[test]
fn dumps_are_compared_by_attributes_where_there_are_no_snapshots() {
    let directory = Directory::of("own-a76-S8", &["env.json", "trace.S8.txt.gz", "ptdump.S8.txt"]);
    let replay = replay(&directory);
    let names: Vec<_> = replay.snapshots.iter().map(|result| result.name.as_str()).collect();
    assert_eq!(names, ["S8.blocks", "S8.eager_split", "S8.dirty", "S8.collapsed"]);
    assert!(replay.snapshots.iter().all(|result| result.against == Against::Attributes));
    assert_eq!((replay.totals().entries, replay.totals().exact), (32, 32));
}

#[test]
fn a_dump_that_names_no_moment_is_compared_where_it_may_be_of() {
    let dumps = text("own-a76-S8/ptdump.S8.txt");
    let split = lines(&dumps)[11..20].concat();
    let directory = Directory::of("own-a76-S8", &["env.json", "trace.S8.txt.gz"]);
    directory.put("ptdump.txt", &split);
    let found = replay(&directory);
    assert_eq!(found.snapshots.len(), 1);
    assert_eq!(found.snapshots[0].name, "dump of line 1, at the mark S8.eager_split");
    assert_eq!(found.totals().differing, 0);

    directory.put("ptdump.txt", split.replace("R W px ux", "R   px ux"));
    let found = replay(&directory);
    assert!(found.totals().differing > 0);
}

#[test]
fn a_dump_with_another_attribute_is_a_difference() {
    let directory = Directory::of("own-a76-S8", &["env.json", "trace.S8.txt.gz"]);
    directory.put("ptdump.S8.txt", text("own-a76-S8/ptdump.S8.txt").replacen("AF BLK", "   BLK", 1));
    let found = replay(&directory);
    let blocks = &found.snapshots[0].comparison;
    assert_eq!((blocks.entries, blocks.differing), (8, 1));
    assert_eq!(blocks.differences[0].want, "level 2 R W BLOCK MAPPED");
    assert_eq!(blocks.differences[0].got, "level 2 R W AF BLOCK MAPPED");
}

#[test]
fn a_changed_descriptor_is_the_difference_that_is_named() {
    let directory = Directory::of("own-a76-S8", &["env.json", "ops.S8.jsonl.gz"]);
    let snapshots = text("own-a76-S8/s2.S8.jsonl.gz");
    let row = lines(&snapshots).into_iter().find(|line| line.contains("\"k\":\"block\"")).unwrap();
    let desc = row.split("\"desc\":\"").nth(1).unwrap().split('"').next().unwrap();
    let value = u64::from_str_radix(&desc[2..], 16).unwrap();
    let with = |bits: u64| snapshots.replacen(desc, &format!("{:#018x}", value ^ bits), 1);

    directory.put("s2.S8.jsonl", with(1 << 7)); // write permission
    let found = replay(&directory);
    let blocks = &found.snapshots[0].comparison;
    assert_eq!((found.totals().differing, blocks.differing), (1, 1));
    assert_eq!(blocks.differences[0].got, desc);
    assert_eq!(blocks.differences[0].want, format!("{:#018x}", value ^ (1 << 7)));

    directory.put("s2.S8.jsonl", with(1 << 10)); // AF clear in the capture: no hardware does that
    assert_eq!(replay(&directory).totals().differing, 1);
}

#[test]
fn an_access_flag_that_hardware_may_have_set_is_counted_apart_only_where_hardware_sets_it() {
    let directory = Directory::of(
        "deb-max",
        &["ops.S1.jsonl.gz", "ops.S2.jsonl.gz", "ops.S3.jsonl.gz", "s2.S3.jsonl.gz"],
    );
    let env = text("deb-max/env.json");
    let af_only = replay(directory.put("env.json", &env)).totals().af_only;
    assert!(af_only > 0);
    let without =
        env.replace("CPU features: detected: Hardware dirty bit management on CPU0-1", "kvm [1]: none");
    let found = replay(directory.put("env.json", without));
    assert_eq!((found.totals().af_only, found.totals().differing), (0, af_only));
    assert!(!found.answers.differing.is_empty(), "test_clear_young answers what hardware saw");
}

/// The same history as a 6.12 kernel would have recorded it: its numbers for `prot`, one call to destroy, and
/// whatever lies in the register where 7.3 has a `flags` argument.
#[test]
fn a_capture_of_kernel_6_12_is_read_with_its_own_numbers() {
    let mut index = 0;
    let ops: String = lines(&text("own-a76-S8/ops.S8.jsonl.gz"))
        .into_iter()
        .filter(|line| !line.contains("s2_destroy_range"))
        .map(|line| {
            let (_, rest) = line.split_once(',').unwrap();
            index += 1;
            let mut line = format!("{{\"i\":{},{rest}", index - 1);
            for (new, old) in [("0x8", "0x4"), ("0xb", "0x5"), ("0xc", "0x6"), ("0xf", "0x7")] {
                if line.contains(&format!("\"prot\":\"{new}\"")) {
                    line = line.replace(&format!("\"prot\":\"{new}\""), &format!("\"prot\":\"{old}\""));
                    break;
                }
            }
            if line.contains("s2_relax_perms") {
                line = line.replace("\"flags\":\"0x8\"", "\"flags\":\"0xdeadbeef\"");
            }
            if line.contains("s2_destroy_pgd") {
                let t0 = line.find("\"t0\"").unwrap();
                let end = t0 + line[t0..].find(',').unwrap() + 1;
                line.replace_range(t0..end, "");
                line = line.replace("s2_destroy_pgd", "s2_destroy");
            }
            line
        })
        .collect();
    let env = text("own-a76-S8/env.json");
    let env = env.replace("7.3.4-kvmcap", "6.12.57").replace("\"ops_records\"", "\"all_records\"");
    let env = env.replace("CPU features: detected: XNX", "kvm [1]: no such line in 6.12");
    let directory = Directory::of("own-a76-S8", &["s2.S8.jsonl.gz"]);
    let found = replay(directory.put("env.json", env).put("ops.S8.jsonl", ops));
    assert_eq!((found.totals().entries, found.totals().exact), (16_464, 16_464));
    assert_eq!(found.answers.differing, []);
    assert_eq!(found.invalidations.agreed, 564);
}

#[test]
fn a_vm_whose_creation_the_trace_missed_is_skipped_and_named() {
    let directory = Directory::of("deb-max", &["env.json", "s2.S7.jsonl.gz"]);
    let trace = text("deb-max/trace.S7.txt.gz");
    // The first of the three VMs; all three have the same pgt.
    let mut inits = 0;
    let cut: String = lines(&trace)
        .into_iter()
        .filter(|line| {
            inits += usize::from(line.contains(" s2_init"));
            !(line.contains(" s2_init") && inits <= 2)
        })
        .collect();
    let found = replay(directory.put("trace.S7.txt", cut));
    assert_eq!(found.skipped_vms.len(), 1);
    let skipped = &found.skipped_vms[0];
    assert_eq!(skipped.pgt, 0xfff0000002fe3840);
    assert!(skipped.operations > 256);
    assert!(skipped.first.to_string().contains("trace.S7.txt:"));
    let compared: Vec<_> = found.snapshots.iter().map(|result| result.name.as_str()).collect();
    assert_eq!((compared, found.totals().differing), (vec!["S7.vm1", "S7.vm2"], 0));
    assert_eq!(found.uncompared[0].name, "S7.vm0");
    assert!(found.uncompared[0].why.contains("the trace missed its creation"));
    assert_eq!(found.lost[0].events, Some(2), "the header counts them");
}

#[test]
fn a_trace_that_begins_in_the_middle_of_calls_is_replayed_from_there() {
    let directory = Directory::of("deb-max", &["env.json"]);
    let trace = text("deb-max/trace.S5.txt.gz");
    let all = lines(&trace);
    let begin = all.iter().position(|line| line.contains(" s2_map: ")).unwrap() + 1;
    let found = replay(directory.put("trace.S5.txt", all[begin..].concat()));
    assert_eq!(found.traces[0].unentered, 1);
    assert_eq!((found.vms.len(), found.skipped_vms.len()), (0, 1));
}

#[test]
fn lost_events_are_named_with_their_processor_and_line() {
    let directory = Directory::of("own-a76-S8", &["env.json"]);
    let trace = text("own-a76-S8/trace.S8.txt.gz");
    let mut all = lines(&trace);
    all.splice(3000..3010, ["CPU:1 [LOST 10 EVENTS]\n"]);
    let header = all[2].replace("6440/6440", "6430/6440");
    all[2] = &header;
    let found = replay(directory.put("trace.S8.txt", all.concat()));
    assert_eq!(found.lost.len(), 1);
    assert_eq!((found.lost[0].line, found.lost[0].cpu, found.lost[0].events), (3001, Some(1), Some(10)));

    // Where the kernel names no line, its header tells.
    let header = trace.replacen("6440/6440", "6440/6450", 1);
    let found = replay(directory.put("trace.S8.txt", header));
    assert_eq!((found.lost[0].line, found.lost[0].cpu, found.lost[0].events), (3, None, Some(10)));

    let env = text("own-a76-S8/env.json").replace("\"S8\": 0", "\"S8\": 7");
    let found = replay(directory.put("env.json", env));
    assert!(found.lost.iter().any(|lost| lost.events == Some(7) && lost.file.ends_with("env.json")));
}

#[test]
fn other_layouts_of_the_trace_are_read() {
    let trace = text("own-a76-S8/trace.S8.txt.gz");
    let expected = parse_ftrace(trace.as_bytes(), "trace").unwrap().records;
    let without_tgid = trace.replace(" (      1) ", " ");
    let unknown_tgid = trace.replace("(      1)", "(-------)");
    let without_header: String = lines(&trace)[12..].concat();
    let without_padding: String = lines(&without_header).iter().map(|line| line.trim_start()).collect();
    let without_flags: String = lines(&trace)
        .iter()
        .map(|line| match line.find("] ").filter(|_| !line.starts_with('#')) {
            Some(cpu) => format!("{}]{}", &line[..cpu], line[cpu + 2..].trim_start_matches(|c| c != ' ')),
            None => (*line).to_owned(),
        })
        .collect();
    let windows = trace.replace('\n', "\r\n");
    for other in [without_tgid, unknown_tgid, without_header, without_padding, without_flags, windows] {
        let mut records = parse_ftrace(other.as_bytes(), "trace").unwrap().records;
        for (record, expected) in records.iter_mut().zip(&expected) {
            record.line = expected.line;
        }
        assert!(records == expected, "{}", &other[other.len() - 200..]);
    }
}

#[test]
fn snapshots_that_no_mark_places_are_named() {
    let directory = Directory::of("own-a76-S8", &["env.json", "s2.S8.jsonl.gz"]);
    let trace = text("own-a76-S8/trace.S8.txt.gz").replace("SNAPSHOT S8.dirty", "SNAPSHOT S8.other");
    let found = replay(directory.put("trace.S8.txt", trace));
    assert_eq!(found.snapshots.len(), 3);
    assert_eq!(found.uncompared[0].name, "S8.dirty");
    assert!(found.uncompared[0].why.contains("no mark"));
}
