//! Any bytes are a debugfs dump, a lock_stat file, a kernel's log, or one error that names the file.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let errors = [
        capture::parse_ptdump(bytes, "fuzzed.txt").err(),
        capture::parse_lock_stat(bytes, "fuzzed.txt").err(),
        capture::parse_kasan(bytes, "fuzzed.txt").err(),
    ];
    for error in errors.into_iter().flatten() {
        assert!(error.to_string().starts_with("fuzzed.txt"), "{error}");
    }
});
