//! Whatever is done to an input, reading it ends with a result or with one error.

mod common;

use std::sync::LazyLock;

use capture::{
    Options, name_objects, overlaps, parse_environment, parse_ftrace, parse_kasan, parse_lock_stat,
    parse_ops, parse_ptdump, parse_snapshots, replay_directory,
};
use common::{Directory, lines, text};
use proptest::prelude::*;
use proptest::sample::Index;

/// Something that happens to files.
#[derive(Clone, Debug)]
enum Harm {
    Flip(Index, u8),
    Cut(Index),
    DeleteLine(Index),
    DoubleLine(Index),
    SwapLines(Index, Index),
    Insert(Index, Vec<u8>),
    ReplaceDigits(Index, u64),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Harm::Flip(at, byte)),
        1 => any::<Index>().prop_map(Harm::Cut),
        1 => any::<Index>().prop_map(Harm::DeleteLine),
        1 => any::<Index>().prop_map(Harm::DoubleLine),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Harm::SwapLines(one, other)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(at, new)| Harm::Insert(at, new)),
        4 => (any::<Index>(), any::<u64>()).prop_map(|(at, value)| Harm::ReplaceDigits(at, value)),
    ]
}

fn harmed(text: &str, harms: &[Harm]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for harm in harms {
        if bytes.is_empty() {
            break;
        }
        let mut all: Vec<Vec<u8>> =
            bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        match harm {
            Harm::Flip(at, byte) => bytes[at.index(text.len()).min(all.concat().len() - 1)] ^= byte,
            Harm::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Harm::Insert(at, new) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
            Harm::ReplaceDigits(at, value) => {
                let at = at.index(bytes.len());
                let Some(start) = bytes[at..].windows(2).position(|two| two == b"0x") else { continue };
                let start = at + start + 2;
                let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                bytes.splice(start..start + digits, format!("{value:x}").into_bytes());
            }
            Harm::DeleteLine(at) => {
                all.remove(at.index(all.len()));
                bytes = all.concat();
            }
            Harm::DoubleLine(at) => {
                let at = at.index(all.len());
                all.insert(at, all[at].clone());
                bytes = all.concat();
            }
            Harm::SwapLines(one, other) => {
                let (one, other) = (one.index(all.len()), other.index(all.len()));
                all.swap(one, other);
                bytes = all.concat();
            }
        }
    }
    bytes
}

fn head(file: &str, count: usize) -> String {
    let text = text(file);
    let all = lines(&text);
    all[..count.min(all.len())].concat()
}

static TRACE: LazyLock<String> = LazyLock::new(|| {
    let text = head("own-a76-S8/trace.S8.txt.gz", 700);
    lines(&text).iter().filter(|line| !line.contains("entries-written")).copied().collect()
});
static OPS: LazyLock<String> = LazyLock::new(|| head("own-a76-S8/ops.S8.jsonl.gz", 300));
static S2: LazyLock<String> = LazyLock::new(|| head("own-a76-S8/s2.S8.jsonl.gz", 21));
static DUMP: LazyLock<String> = LazyLock::new(|| text("own-a76-S8/ptdump.S8.txt"));
static LOCK_STAT: LazyLock<String> = LazyLock::new(|| head("own-a76-S8/lock_stat.txt.gz", 120));
static RACE: LazyLock<String> = LazyLock::new(|| {
    let text = text("race/own-b1/trace.S6b.txt.gz");
    lines(&text).iter().skip(4).take(200).copied().collect()
});
static CONSOLE: LazyLock<String> = LazyLock::new(|| {
    let text = text("race/own-b1/console.txt.gz");
    lines(&text).iter().skip(190).take(220).copied().collect()
});
static ENV: LazyLock<String> =
    LazyLock::new(|| text("own-a76-S8/env.json").replace("\"ops_records\"", "\"all_records\""));

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_a_parser(harms in prop::collection::vec(harm(), 1..6)) {
        let _ = parse_ftrace(&harmed(&TRACE, &harms), "trace.txt");
        let _ = parse_ops(&harmed(&OPS, &harms), "ops.jsonl");
        let _ = parse_snapshots(&harmed(&S2, &harms), "s2.jsonl");
        let _ = parse_ptdump(&harmed(&DUMP, &harms), "ptdump.txt");
        let _ = parse_lock_stat(&harmed(&LOCK_STAT, &harms), "lock_stat.txt");
        let _ = parse_environment(&harmed(&ENV, &harms), "env.json");
        let mut reports = parse_kasan(&harmed(&CONSOLE, &harms), "console.txt").unwrap_or_default();
        if let Ok(trace) = parse_ftrace(&harmed(&RACE, &harms), "trace.txt") {
            for overlap in overlaps(&trace) {
                prop_assert!(overlap.start_us < overlap.end_us, "{}", overlap.ladder);
            }
            name_objects(&mut reports, &trace, "trace.txt");
        }
    }

    #[test]
    fn of_a_parser_on_anything(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_ftrace(&bytes, "trace.txt");
        let _ = parse_ops(&bytes, "ops.jsonl");
        let _ = parse_snapshots(&bytes, "s2.jsonl");
        let _ = parse_ptdump(&bytes, "ptdump.txt");
        let _ = parse_lock_stat(&bytes, "lock_stat.txt");
        let _ = parse_environment(&bytes, "env.json");
        let _ = parse_kasan(&bytes, "console.txt");
        let gzip: Vec<u8> = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3].into_iter().chain(bytes).collect();
        let _ = parse_ftrace(&gzip, "trace.txt.gz");
    }

    #[test]
    fn of_a_replay(harms in prop::collection::vec(harm(), 0..4), raw in any::<bool>()) {
        let directory = Directory::new();
        directory.put("env.json", &*ENV).put("s2.S8.jsonl", &*S2).put("ptdump.S8.txt", &*DUMP);
        if raw {
            directory.put("trace.S8.txt", harmed(&TRACE, &harms));
        } else {
            directory.put("ops.S8.jsonl", harmed(&OPS, &harms));
        }
        if let Ok(replay) = replay_directory(directory.path(), Options::default()) {
            let sum = replay.totals();
            prop_assert!(sum.exact + sum.af_only <= sum.entries);
            if harms.is_empty() {
                prop_assert_eq!((sum.differing, replay.snapshots[0].name.as_str()), (0, "S8.blocks"));
            }
        }
    }
}
