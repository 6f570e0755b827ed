//! Any bytes are packed records, packed snapshots, or one error that names the file.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let errors = [
        capture::parse_ops(bytes, "fuzzed.jsonl").err(),
        capture::parse_snapshots(bytes, "fuzzed.jsonl").err(),
        capture::parse_environment(bytes, "fuzzed.jsonl").err(),
    ];
    for error in errors.into_iter().flatten() {
        assert!(error.to_string().starts_with("fuzzed.jsonl"), "{error}");
    }
});
