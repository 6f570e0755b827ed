//! Any bytes are ftrace's text or one error that names the file.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = capture::parse_ftrace(bytes, "fuzzed.txt") {
        assert!(error.to_string().starts_with("fuzzed.txt:"), "{error}");
    }
});
