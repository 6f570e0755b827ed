//! Upstream's own answers (Linux 7.3 in user space) to scripts of operations: `data/golden`.

use std::fs;
use std::path::{Path, PathBuf};

use stage2::{Granule, Tlbi, WalkerKind};

/// Every case: the script's path, its text and upstream's answer.
fn cases() -> Vec<(PathBuf, String, String)> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/golden");
    let entries = fs::read_dir(&golden).expect("data/golden is part of the repository");
    let scripts = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ops"));
    let read = |path: PathBuf| {
        let script = fs::read_to_string(&path).unwrap();
        let upstream = fs::read_to_string(path.with_extension("out")).unwrap();
        (path, script, upstream)
    };
    let cases: Vec<_> = scripts.map(read).collect();
    assert!(cases.len() >= 79, "only {} golden cases found", cases.len());
    cases
}

fn assert_same(ours: &str, upstream: &str, script: &Path) {
    let differs = ours.lines().zip(upstream.lines()).position(|(ours, theirs)| ours != theirs);
    if let Some(line) = differs {
        let context = |text: &str| {
            let from = line.saturating_sub(6);
            text.lines().skip(from).take(line - from + 3).collect::<Vec<_>>().join("\n")
        };
        panic!(
            "{} differs at line {}\n--- ours\n{}\n--- upstream\n{}",
            script.display(),
            line + 1,
            context(ours),
            context(upstream)
        );
    }
    assert_eq!(ours, upstream, "{}", script.display());
}

#[test]
fn every_golden_case_is_reproduced_to_the_letter() {
    for (path, script, upstream) in cases() {
        assert_same(&stage2::run_ops(&script, WalkerKind::Upstream).unwrap(), &upstream, &path);
    }
}

/// The report without invalidations and without their number.
fn without_invalidations(report: &str) -> String {
    let kept = report.lines().filter(|line| !line.starts_with("  TLBI"));
    let unnumbered = kept.map(|line| match line.split_once(" tlbi ") {
        Some((rc, rest)) => format!("{rc}{}\n", &rest[rest.find(' ').unwrap()..]),
        None => format!("{line}\n"),
    });
    unnumbered.collect()
}

#[test]
fn the_fast_walker_gives_every_golden_table_count_and_return_code() {
    for (path, script, upstream) in cases() {
        let fast = stage2::run_ops(&script, WalkerKind::Fast).unwrap();
        assert_same(&without_invalidations(&fast), &without_invalidations(&upstream), &path);
    }
}

/// The invalidations of each operation of a report, and whether all are in it (it shows 64).
fn invalidations(report: &str) -> Vec<(&str, Vec<Tlbi>, bool)> {
    let mut operations: Vec<(&str, Vec<Tlbi>, bool)> = Vec::new();
    for line in report.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap();
        let tlbi = match words[..] {
            [">", ..] => {
                operations.push((line, Vec::new(), false));
                continue;
            }
            ["=", .., "tlbi", n, _, _, _, _, _, _] => {
                let (_, tlbis, complete) = operations.last_mut().unwrap();
                *complete = n.parse() == Ok(tlbis.len());
                continue;
            }
            ["TLBI", "ipa", ipa, "level", level] => {
                Tlbi::Ipa { ipa: address(ipa), level: level.parse().ok() }
            }
            ["TLBI", "ipa-nsh", ipa, "level", level] => {
                Tlbi::IpaNsh { ipa: address(ipa), level: level.parse().ok() }
            }
            ["TLBI", "range", ipa, "pages", n] => {
                Tlbi::Range { ipa: address(ipa), pages: n.parse().unwrap() }
            }
            ["TLBI", "vmid-all"] => Tlbi::Vmid,
            _ => continue,
        };
        operations.last_mut().unwrap().1.push(tlbi);
    }
    operations
}

#[test]
fn the_fast_walker_invalidates_whatever_upstream_does_and_never_more_often() {
    let (mut fewer, mut compared) = (0, 0);
    for (path, script, upstream) in cases() {
        let granule: Granule = script.split_whitespace().nth(2).unwrap().parse().unwrap();
        let fast = stage2::run_ops(&script, WalkerKind::Fast).unwrap();
        let (upstream, fast) = (invalidations(&upstream), invalidations(&fast));
        assert_eq!(upstream.len(), fast.len());
        for ((operation, wanted, _), (_, given, complete)) in upstream.iter().zip(&fast) {
            let covered =
                |one: &Tlbi| given.iter().any(|wide| wide.includes(*one, 1 << granule.page_shift()));
            let missed = wanted.iter().find(|one| *complete && !covered(one));
            assert_eq!(missed, None, "{}: {operation}: {given:x?}", path.display());
            assert!(given.len() <= wanted.len(), "{}: {operation}: {given:x?}", path.display());
            compared += wanted.len();
            fewer += usize::from(given.len() < wanted.len());
        }
    }
    assert!(compared > 1000 && fewer > 0, "{compared} invalidations, {fewer} operations with fewer");
}
