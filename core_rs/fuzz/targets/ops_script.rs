//! Any text is a script or one error; a script runs to its end, and its report has a line for each operation.

#![no_main]

use libfuzzer_sys::fuzz_target;

/// Sizes above this are left out: a script may ask for gigabytes of tables, and that is its right, not a find.
const LARGEST: u64 = 1 << 28;

fuzz_target!(|text: &str| {
    if text.lines().any(large) {
        return;
    }
    if let Ok(report) = stage2::run_ops(text) {
        let operations =
            text.lines().skip(1).filter(|line| !matches!(line.trim().chars().next(), None | Some('#'))).count();
        assert_eq!(report.lines().filter(|line| line.starts_with("> ")).count(), operations);
    }
});

/// Whether the size of an operation (its second number) is out of proportion.
fn large(line: &str) -> bool {
    let Some(word) = line.split_whitespace().nth(2) else { return false };
    let size = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    size.is_ok_and(|size| size > LARGEST)
}
