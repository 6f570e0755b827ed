//! Each kind of bad input gives one error, which names the file, the line, the cause and what was expected.

mod common;

use capture::{
    CaptureError, Options, parse_environment, parse_ftrace, parse_lock_stat, parse_ops, parse_ptdump,
    parse_snapshots, replay_directory,
};
use common::{Directory, bytes, lines, text};

/// What an error must be: its kind, its line, and something of its cause.
type Fault = (&'static str, usize, &'static str);

fn kind(error: &CaptureError) -> &'static str {
    match error {
        CaptureError::Cut { .. } => "cut",
        CaptureError::Reordered { .. } => "reordered",
        CaptureError::Format { .. } => "format",
        CaptureError::NotACapture { .. } => "not a capture",
        CaptureError::Directory { .. } => "directory",
        CaptureError::Io { .. } => "io",
    }
}

#[track_caller]
fn check<T: std::fmt::Debug>(result: Result<T, CaptureError>, (want, line, cause): Fault) {
    let error = result.err().unwrap_or_else(|| panic!("no error; wanted {want}: {cause}"));
    let message = error.to_string();
    let place = error.place().unwrap_or_else(|| panic!("no place in {message}"));
    assert_eq!((kind(&error), place.line), (want, line), "{message}");
    assert!(message.contains(cause), "{message}");
    assert!(message.starts_with(&format!("{}:{line}: ", place.file)), "{message}");
    assert!(message.contains("; expected "), "{message}");
}

/// Replaces line `number` (from 1) by what `change` makes of it.
fn with_line(text: &str, number: usize, change: impl FnOnce(&str) -> String) -> String {
    let mut all = lines(text);
    let changed = change(all[number - 1]);
    all[number - 1] = &changed;
    all.concat()
}

/// The number of the first line that contains `what`.
fn line_of(text: &str, what: &str) -> usize {
    text.lines().position(|line| line.contains(what)).unwrap() + 1
}

const TRACE: &str = "own-a76-S8/trace.S8.txt.gz";
const OPS: &str = "own-a76-S8/ops.S8.jsonl.gz";
const S2: &str = "own-a76-S8/s2.S8.jsonl.gz";

#[test]
fn a_trace_that_is_cut() {
    let trace = text(TRACE);
    let all = lines(&trace);
    let parse = |text: &str| parse_ftrace(text.as_bytes(), "trace.txt");
    check(parse(&trace[..all[..3000].concat().len() + 30]), ("cut", 3001, "the last line breaks off"));
    check(parse(&all[..3000].concat()), ("cut", 3000, "records that the file counts are not in it"));
    check(parse(all[..12].concat().as_str()), ("not a capture", 12, "it holds no event"));
    let exit = line_of(&trace, " kvm_exit: ");
    let without = with_line(&trace, exit, |_| String::new());
    check(parse(&without), ("cut", 6451, "one record that the file counts"));
}

#[test]
fn a_trace_from_which_one_half_of_a_call_is_taken() {
    let trace = text(TRACE);
    let all = lines(&trace);
    let parse = |text: &str| parse_ftrace(text.as_bytes(), "trace.txt");
    let maps: Vec<usize> = (0..all.len()).filter(|&n| all[n].contains(" s2_relax_perms: ")).collect();
    let returns: Vec<usize> = (0..all.len()).filter(|&n| all[n].contains(" s2_relax_perms_ret: ")).collect();
    let entry = maps[5];
    let pid = |n: usize| all[n].split('-').nth(1).unwrap().split(' ').next().unwrap();
    let its_return = *returns.iter().find(|&&n| n > entry && pid(n) == pid(entry)).unwrap();
    let next_entry = *maps.iter().find(|&&n| n > entry && pid(n) == pid(entry)).unwrap();
    let without = |n: usize| with_line(&trace, n + 1, |_| String::new());
    check(parse(&without(entry)), ("cut", its_return, "which it has not entered"));
    check(parse(&without(its_return)), ("cut", next_entry, "has not returned"));
}

#[test]
fn a_trace_that_is_out_of_order() {
    let trace = text(TRACE);
    let mut all = lines(&trace);
    all.swap(2000, 2400);
    check(parse_ftrace(all.concat().as_bytes(), "trace.txt"), ("reordered", 2002, "is before"));
    // Without a header the processors' events are merged by nobody, but each processor's are in order.
    let all = lines(&trace);
    let (one, other): (Vec<&str>, Vec<&str>) = all[12..].iter().partition(|line| line.contains("[000]"));
    let by_cpu = one.concat() + &other.concat();
    assert!(parse_ftrace(by_cpu.as_bytes(), "trace_pipe.txt").is_ok());
    let backwards = one.iter().rev().copied().collect::<String>();
    check(parse_ftrace(backwards.as_bytes(), "trace_pipe.txt"), ("reordered", 2, "is before"));
}

#[test]
fn a_trace_of_another_event_format() {
    let trace = text(TRACE);
    let parse = |text: &str| parse_ftrace(text.as_bytes(), "trace.txt");
    let map = line_of(&trace, " s2_map: ");
    let changed = |from: &str, to: &str| with_line(&trace, map, |line| line.replace(from, to));
    check(parse(&changed("addr=", "ipa=")), ("format", map, "s2_map has no field `addr`"));
    check(parse(&changed("size=0x", "size=")), ("format", map, "s2_map: field `size` is `"));
    check(parse(&changed(" phys=", " phys ")), ("format", map, "a probe has the fields"));
    check(
        parse(&changed("s2_map: ", "map_it: ")),
        ("format", map, "a probe on kvm_pgtable_stage2_map is called `map_it`"),
    );
    check(parse(&changed("s2_map: ", "s2_map ")), ("format", map, "it has no event name"));
    check(parse(&changed("[00", "<00")), ("format", map, "it has no TASK-PID and [CPU]"));
    let time =
        trace.lines().nth(map - 1).unwrap().split_whitespace().find(|word| word.ends_with(':')).unwrap();
    check(parse(&changed(time, "12ab.000000:")), ("format", map, "it has no time stamp"));
    let ret = line_of(&trace, " s2_map_ret: ");
    let changed =
        with_line(&trace, ret, |line| line.replace("ret=0", "ret=0x0").replace("ret=-11", "ret=0x0"));
    check(parse(&changed), ("format", ret, "s2_map: field `ret` is `0x0`"));
    let fault = line_of(&trace, " kvm_guest_fault: ");
    check(
        parse(&with_line(&trace, fault, |line| line.replace("hsr ", "esr "))),
        ("format", fault, "no field `hsr`"),
    );
    let begin = line_of(&trace, " contention_begin: ");
    let changed = with_line(&trace, begin, |line| line.replace("(flags=SPIN", "(flags=SPUN"));
    check(parse(&changed), ("format", begin, "contention_begin has the fields"));
    check(parse(&trace.replacen("6440/6440", "6440-6440", 1)), ("format", 3, "the counts of the header"));
    check(parse(&trace.replacen("6440/6440", "12/6440", 1)), ("format", 3, "its header counts 12"));
}

#[test]
fn what_is_not_a_trace() {
    let parse = |bytes: &[u8]| parse_ftrace(bytes, "trace.txt");
    check(parse(b""), ("not a capture", 1, "it is empty"));
    check(parse(b"\n \n"), ("not a capture", 1, "it is empty"));
    check(parse(b"\x7fELF\x02\x01\0\0"), ("not a capture", 1, "binary"));
    check(parse(b"Dear reader,\nthis is a letter.\n"), ("not a capture", 1, "`Dear reader,`"));
    check(parse(&bytes(OPS)), ("not a capture", 1, "it has no TASK-PID"));
    let sched =
        "# tracer: nop\n#\n  sh-12  [000] d..2. 1.000000: sched_switch: prev_comm=sh ==> next_comm=init\n";
    check(parse(sched.as_bytes()), ("not a capture", 3, "none that a capture consists of"));
    let mut trace = text(TRACE).into_bytes();
    let at = trace.len() / 2;
    trace[at] = 0xff;
    let line = trace[..at].split(|&byte| byte == b'\n').count();
    check(parse(&trace), ("format", line, "byte 0xff is not UTF-8"));
}

#[test]
fn a_gzip_file_that_is_cut_or_damaged_or_none() {
    let gzip = bytes(TRACE);
    let half = parse_ftrace(&gzip[..gzip.len() / 2], "trace.txt.gz").unwrap_err();
    assert_eq!(kind(&half), "cut");
    assert!(half.place().unwrap().line > 1000, "{half}");
    let mut damaged = gzip.clone();
    let end = damaged.len() - 6;
    damaged[end] ^= 0x10; // the checksum
    check(parse_ftrace(&damaged, "trace.txt.gz"), ("cut", 6453, "breaks off or is damaged"));
    let mut no_magic = gzip;
    no_magic[0] = b'#';
    check(parse_ftrace(&no_magic, "trace.txt.gz"), ("not a capture", 1, "not with gzip's magic"));
    check(parse_ops(b"", "ops.S1.jsonl.gz"), ("not a capture", 1, "it is empty"));
}

#[test]
fn packed_operations_that_are_cut_reordered_or_of_another_format() {
    let ops = text(OPS);
    let parse = |text: &str| parse_ops(text.as_bytes(), "ops.jsonl");
    let map = line_of(&ops, "\"op\":\"s2_map\"");
    let changed = |from: &str, to: &str| parse(&with_line(&ops, map, |line| line.replace(from, to)));
    let all = lines(&ops);
    check(parse(&ops[..all[..500].concat().len() + 40]), ("cut", 501, "the last line breaks off"));
    check(parse(&with_line(&ops, 500, |_| String::new())), ("cut", 500, "one record that the file counts"));
    let swapped = |one: usize, other: usize| {
        let mut all = all.clone();
        all.swap(one - 1, other - 1);
        all.concat()
    };
    check(parse(&swapped(701, 702)), ("reordered", 702, "index i=700 follows i=701"));
    check(
        parse(&with_line(&ops, 700, |line| line.repeat(2))),
        ("reordered", 701, "index i=699 follows i=699"),
    );
    let times = with_line(&ops, 700, |line| {
        let t1 = line.find("\"t1\":\"").unwrap() + 6;
        format!("{}0.000001{}", &line[..t1], &line[t1 + line[t1..].find('"').unwrap()..])
    });
    let early = parse(&times).unwrap_err();
    assert!(matches!(kind(&early), "reordered" | "format"), "{early}");

    check(changed("\"addr\"", "\"ipa\""), ("format", map, "there is no field `addr`"));
    check(changed("\"t0\"", "\"entry\""), ("format", map, "there is no field `t0`"));
    check(
        changed("\"op\":\"s2_map\"", "\"op\":\"s2_mop\""),
        ("format", map, "op `s2_mop` is not an operation"),
    );
    check(changed("\"size\":\"0x", "\"size\":\""), ("format", map, "field `size` is `"));
    check(
        changed("\"flags\":\"0x8\"", "\"flags\":8"),
        ("format", map, "field `flags` is `8`; expected a string"),
    );
    check(changed("\"ret\":\"0\"", "\"ret\":\"0x0\""), ("format", map, "field `ret` is `0x0`"));
    check(changed("\"cpu\":", "\"cpu\":-"), ("format", map, "field `cpu` is `-"));
    check(changed("\"pid\":", "\"pid\":[1],\"pd\":"), ("format", map, "instead of a string, a number"));
    check(changed("\"comm\":\"", "\"comm\":\"a-name-that-is-too-long"), ("format", map, "field `comm` is"));
    check(changed("\"pgt\"", "\"addr\""), ("format", map, "is there twice"));
    check(changed("}", "} {}"), ("format", map, "instead of the end of the line"));
    check(changed("{", ""), ("format", map, "instead of `{`"));
    check(
        parse_ops(text(TRACE).as_bytes(), "ops.jsonl"),
        ("not a capture", 1, "it begins with `# tracer: nop`"),
    );
}

#[test]
fn snapshots_that_are_cut_reordered_or_of_another_format() {
    let s2 = text(S2);
    let parse = |text: &str| parse_snapshots(text.as_bytes(), "s2.jsonl");
    let all = lines(&s2);
    let page = line_of(&s2, "\"k\":\"page\"");
    let changed = |from: &str, to: &str| parse(&with_line(&s2, page, |line| line.replace(from, to)));
    check(parse(&all[..10].concat()), ("cut", 10, "holds 9 descriptors, its header counts 20"));
    check(parse(&(all[..10].concat() + "{\"l\":2,\"ip")), ("cut", 11, "the last line breaks off"));
    check(parse(&with_line(&s2, 9, |_| String::new())), ("cut", 21, "holds 19 descriptors"));
    let mut swapped = all.clone();
    swapped.swap(10, 11);
    check(parse(&swapped.concat()), ("reordered", 12, "comes after level"));
    check(parse(&all[1..].concat()), ("format", 1, "a descriptor comes before any header"));
    check(changed("\"desc\"", "\"pte\""), ("format", page, "there is no field `desc`"));
    check(changed("\"l\":3", "\"l\":7"), ("format", page, "field `l` is `7`"));
    check(changed("\"l\":3", "\"l\":\"3\""), ("format", page, "field `l` is `3`"));
    check(changed("\"k\":\"page\"", "\"k\":\"leaf\""), ("format", page, "field `k` is `leaf`"));
    check(changed("\"k\":\"page\"", "\"k\":\"table\""), ("format", page, "is called Table"));
    check(changed("\"at\":\"0x", "\"at\":\"0x1"), ("format", page, "cannot lie at 0x1"));
    let header = |from: &str, to: &str| parse(&with_line(&s2, 1, |line| line.replace(from, to)));
    check(header("\"vtcr\"", "\"vtcr_el2\""), ("format", 1, "there is no field `vtcr`"));
    check(header("0x802a3558", "0x802af558"), ("format", 1, "field `vtcr` is `0x802af558`"));
    check(header("\"entries\": 20", "\"entries\": \"20\""), ("format", 1, "field `entries` is `20`"));
}

#[test]
fn dumps_that_are_cut_reordered_or_of_another_format() {
    let dump = text("own-a76-S8/ptdump.S8.txt");
    let parse = |text: &str| parse_ptdump(text.as_bytes(), "ptdump.txt");
    let all = lines(&dump);
    let changed = |line, from: &str, to: &str| parse(&with_line(&dump, line, |text| text.replace(from, to)));
    check(parse(&all[..6].concat()), ("cut", 6, "the dump of line 2 ends at 0x80000000"));
    check(parse(&all[..11].concat()), ("cut", 11, "no dump follows ### S8.eager_split"));
    check(parse(dump.trim_end().strip_suffix("1019G 1").unwrap()), ("cut", 40, "the last line breaks off"));
    check(parse(&with_line(&dump, 5, |_| String::new())), ("reordered", 5, "the range starts at 0x40200000"));
    check(changed(4, "4K 3", "8K 3"), ("format", 4, "a size that is not that of the range"));
    check(changed(4, "R W px ux", "W R px ux"), ("format", 4, "attributes out of their order"));
    check(changed(4, "px ux", "rwx"), ("format", 4, "an attribute that no dump has"));
    check(changed(4, "4K 3", "4K x"), ("format", 4, "no level from 0 to 3"));
    check(parse("total 12\ndrwxr-xr-x\n"), ("not a capture", 1, "it begins with `total 12`"));
    check(parse("### S8.blocks\n"), ("cut", 1, "no dump follows"));
}

#[test]
fn a_lock_stat_that_is_cut_or_of_another_format() {
    let stat = text("own-a76-S8/lock_stat.txt.gz");
    let parse = |text: &str| parse_lock_stat(text.as_bytes(), "lock_stat.txt");
    let row = line_of(&stat, "&rq->__lock:");
    let changed = |from: &str, to: &str| parse(&with_line(&stat, row, |line| line.replace(from, to)));
    check(parse(&stat[..lines(&stat)[..row].concat().len() - 20]), ("cut", row, "the last line breaks off"));
    check(parse(&lines(&stat)[..2].concat()), ("cut", 2, "it ends before its columns"));
    check(changed("3.49", "3,49"), ("format", row, "a time that is not in microseconds"));
    check(changed("841", "0x349"), ("format", row, "a count that is not a number"));
    check(changed("&rq->__lock:", "&rq->__lock"), ("format", row, "no colon after the class"));
    check(parse(&stat.replacen("con-bounces", "bounces", 1)), ("format", 3, "its columns are"));
    check(parse(&stat.replacen("version 0.4", "version 0.9", 1)), ("format", 1, "its version is `0.9`"));
    let point = line_of(&stat, "__schedule+");
    let moved = with_line(&stat, point, |line| line.replace("&rq->__lock", "&p->pi_lock"));
    check(parse(&moved), ("format", point, "a place of another class"));
    check(parse("MemTotal: 1\n"), ("not a capture", 1, "it begins with `MemTotal: 1`"));
}

#[test]
fn an_environment_that_is_missing_or_does_not_say_what_is_needed() {
    let env = text("own-a76-S8/env.json");
    let parse = |text: &str| parse_environment(text.as_bytes(), "env.json");
    check(parse(&env[..env.len() / 2]), ("cut", lines(&env[..env.len() / 2]).len(), "it is not JSON"));
    check(parse("[1, 2"), ("cut", 1, "it is not JSON"));
    check(parse("{]"), ("format", 1, "it is not JSON"));
    check(parse(&env.replace("\"kernel\"", "\"uname\"")), ("format", 1, "it has no string `kernel`"));
    check(parse(&env.replace("Linux version ", "Linux ")), ("format", 1, "`kernel` is `Linux 7.3.4"));
    check(parse(&env.replace("\"dmesg_kvm\"", "\"dmesg\"")), ("format", 1, "no list of strings `dmesg_kvm`"));
    check(
        parse(&env.replace("features: detected", "features")),
        ("format", 1, "no line of `dmesg_kvm` says"),
    );
    check(
        parse(&env.replace("\"S8\": 0", "\"S8\": \"0\"")),
        ("format", 1, "`dropped_events` is not an object"),
    );

    for files in [["trace.S8.txt.gz"], ["ops.S8.jsonl.gz"]] {
        let directory = Directory::of("own-a76-S8", &files);
        let error = replay_directory(directory.path(), Options::default()).unwrap_err();
        let message = error.to_string();
        assert_eq!(kind(&error), "directory");
        assert!(message.contains("it holds no env.json; expected"), "{message}");
        assert!(message.contains("FWB, TLBI range and XNX, and what prot means"), "{message}");
    }
}

#[test]
fn a_directory_that_holds_no_trace_or_one_twice_or_is_none() {
    let replay = |directory: &Directory| replay_directory(directory.path(), Options::default()).unwrap_err();
    let directory = Directory::of("own-a76-S8", &["env.json", "s2.S8.jsonl.gz"]);
    assert!(replay(&directory).to_string().contains("it holds no trace; expected ops.*.jsonl.gz"));
    directory.put("ops.S8.jsonl", text(OPS)).put("ops.S8.jsonl.gz", bytes(OPS));
    assert!(replay(&directory).to_string().contains("are the same thing twice"));
    let missing = directory.path().join("nothing");
    let error = replay_directory(&missing, Options::default()).unwrap_err();
    assert_eq!(kind(&error), "io");
    assert!(error.to_string().contains("nothing"), "{error}");
}

#[test]
fn a_capture_whose_files_contradict_each_other() {
    let replay = |directory: &Directory| replay_directory(directory.path(), Options::default());
    let ops = text(OPS);
    let directory = Directory::of("own-a76-S8", &["env.json", "s2.S8.jsonl.gz"]);
    directory.put("ops.S8.jsonl", lines(&ops)[..2000].concat());
    check(replay(&directory), ("cut", 2000, "its records go up to number 2000, env.json counts 2883"));

    let map = line_of(&ops, "\"op\":\"s2_map\"");
    let prot = with_line(&ops, map, |line| line.replace("\"prot\":\"0x", "\"prot\":\"0x4"));
    directory.put("ops.S8.jsonl", prot);
    check(replay(&directory), ("format", map, "has bits that kernel 7.3 does not know"));

    let init = line_of(&ops, "\"op\":\"s2_init\"");
    let vtcr = with_line(&ops, init, |line| line.replace("0x802a3558", "0x802a3502"));
    directory.put("ops.S8.jsonl", vtcr);
    check(replay(&directory), ("format", init, "vtcr 0x802a3502 is of no table"));

    let s2 = text(S2);
    directory.put("ops.S8.jsonl", &ops);
    std::fs::remove_file(directory.path().join("s2.S8.jsonl.gz")).unwrap();
    directory.put("s2.S8.jsonl", s2.replace("\"S8.dirty\"", "\"S8.blocks\""));
    let second = line_of(&s2, "\"S8.dirty\"");
    check(replay(&directory), ("format", second, "there is another snapshot S8.blocks"));
}

#[test]
fn records_that_are_missing_from_a_later_scenario_are_not_taken_for_a_late_beginning() {
    let files = ["env.json", "trace.S1.txt.gz", "trace.S2.txt.gz"];
    let directory = Directory::of("deb-max", &files);
    let trace = text("deb-max/trace.S2.txt.gz");
    std::fs::remove_file(directory.path().join("trace.S2.txt.gz")).unwrap();
    directory.put("trace.S2.txt", lines(&trace)[..9000].concat());
    let error = replay_directory(directory.path(), Options::default());
    check(error, ("cut", 9000, "records that the file counts are not in it"));
}
