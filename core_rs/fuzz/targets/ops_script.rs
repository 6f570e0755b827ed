//! Any text is a script or one error; a script runs to its end, and its report has a line for each operation.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stage2::WalkerKind;

/// Sizes above this are left out: a script may ask for gigabytes of tables, and that is its right, not a find.
const LARGEST: u64 = 1 << 28;

fuzz_target!(|text: &str| {
    if text.lines().any(large) {
        return;
    }
    let Ok(report) = stage2::run_ops(text, WalkerKind::Upstream) else { return };
    let operations =
        text.lines().skip(1).filter(|line| !matches!(line.trim().chars().next(), None | Some('#'))).count();
    assert_eq!(report.lines().filter(|line| line.starts_with("> ")).count(), operations);
    // Destroying in steps may be misused: what is counted twice then differs.
    if !text.contains("destroy_range") {
        let fast = stage2::run_ops(text, WalkerKind::Fast).expect("what one walker reads the other reads");
        assert_eq!(without_invalidations(&fast), without_invalidations(&report));
    }
});

/// The report without invalidations, of which the fast walker may have fewer, and without their number.
fn without_invalidations(report: &str) -> Vec<(&str, &str)> {
    let kept = report.lines().filter(|line| !line.starts_with("  TLBI"));
    kept.map(|line| match line.split_once(" tlbi ") {
        Some((rc, rest)) => (rc, rest.split_once(' ').map_or("", |(_, rest)| rest)),
        None => (line, ""),
    })
    .collect()
}

/// Whether the size of an operation (its second number) is out of proportion.
fn large(line: &str) -> bool {
    let Some(word) = line.split_whitespace().nth(2) else { return false };
    let size = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    size.is_ok_and(|size| size > LARGEST)
}
