//! Canonical points: what has no effect is null, and what is wrong is named.

mod common;

use common::point;
use measure::{Background, Counters, Ending, Locality, Mix, Pattern, Point, Populate};
use proptest::prelude::*;

fn refused(json: &str) -> String {
    let checked = Point::from_json(json).and_then(|point| point.check().map(drop));
    checked.expect_err(json).to_string()
}

#[test]
fn bad_input_is_named_with_what_would_be_right() {
    for (json, message) in [
        (r#"{"threads": 0}"#, "threads 0 is not 1 to 128"),
        (r#"{"threads": -1}"#, "threads -1 is not a whole number from 0 to 4294967295"),
        (r#"{"threads": "2"}"#, "threads \"2\" is not a whole number from 0 to 4294967295"),
        (r#"{"breaks": 1}"#, "breaks 1 is not true or false"),
        (r#"{"granule": "8K"}"#, "granule \"8K\" is not one of 4K, 16K, 64K"),
        (r#"{"ipa_bits": 60}"#, "ipa_bits 60 is outside 32 to 48 (4K pages without LPA2)"),
        (r#"{"leaf_bytes": 8192}"#, "leaf_bytes 8192 is not one of [1073741824, 2097152, 4096]"),
        (
            r#"{"guest_bytes": 5000}"#,
            "guest_bytes 5000 is not a multiple of leaf_bytes 4096 up to 1099511627776",
        ),
        (
            r#"{"step_bytes": 2048}"#,
            "step_bytes 2048 is not 0 for the kernel's step, or a power of two from leaf_bytes 4096 up",
        ),
        (r#"{"sparsity": 0}"#, "sparsity 0 is not 1 to 16384, the touches of the guest"),
        (
            r#"{"touch_bytes": 8192}"#,
            "touch_bytes 8192 is not a power of two from a page, 4096, to a leaf, 4096",
        ),
        (
            r#"{"op_bytes": 100}"#,
            "op_bytes 100 is not a multiple of a page, 4096, up to guest_bytes 67108864",
        ),
        (r#"{"write_percent": 101}"#, "write_percent 101 is not 0 to 100"),
        (r#"{"rate_per_s": 0}"#, "rate_per_s 0 is not 0.1 to 1e9"),
        (r#"{"mix": ""}"#, "mix \"\": it names no class, \"fault\" or \"fault=90 age=10\" would be right"),
        (r#"{"mix": "fault fault"}"#, "mix \"fault fault\": fault is there twice, once would be right"),
        (
            r#"{"mix": "dirty=1"}"#,
            "mix \"dirty=1\": \"dirty\" is not one of fault, age, wrprotect, unmap, split",
        ),
        (
            r#"{"teardown": "kill"}"#,
            "variant is missing: the teardown is a life cycle, of a kernel and under a strategy",
        ),
        (
            r#"{"delay_ns": 5}"#,
            "delay_site is missing: delay_ns is spent at a site of the lock, such as \"kvm_handle_guest_abort\"",
        ),
        (
            r#"{"ipa_bits": 48, "guest_bytes": 281474976710656}"#,
            "guest_bytes 281474976710656 needs more table pages than one table may have",
        ),
    ] {
        assert_eq!(refused(json), message, "{json}");
    }
    assert!(
        refused(r#"{"lock": "rwlock"}"#).starts_with("lock \"rwlock\" is not one of qrwlock, parking_lot, ")
    );
    assert!(refused(r#"{"lcok": 1}"#).starts_with("lcok is no field of a point: threads, lock, walk, "));
    assert!(refused("[1]").starts_with("a point is not a JSON object of fields: "));
    let memslot = r#"{"ipa_bits": 32, "guest_bytes": 4294967296, "background": "memslot"}"#;
    assert!(
        refused(memslot)
            .starts_with("background \"memslot\" has no room: guest_bytes 4294967296 and op_bytes")
    );
}

#[test]
fn fields_without_effect_are_null() {
    let canonical = |fields: &str| point(fields).check().unwrap().point;
    let nothing_runs =
        canonical(r#""ops_per_thread": 0, "threads": 4, "mix": "age", "pattern": "overlapping""#);
    assert_eq!((nothing_runs.threads, nothing_runs.mix, nothing_runs.pattern), (None, None, None));
    let alone = canonical(r#""pattern": "overlapping", "breaks": true, "op_bytes": 4096"#);
    assert_eq!((alone.pattern, alone.breaks, alone.op_bytes), (None, None, None));
    let deferred = canonical(r#""defer": true, "place": "under-lock""#);
    assert_eq!((deferred.place, deferred.breaks), (None, None));
    let kernel = canonical(r#""step_bytes": 0"#);
    assert_eq!(kernel.step_bytes, Some(1 << 30), "resolved");
    assert_eq!(canonical(r#""step_bytes": 1099511627776"#).step_bytes, None, "one walk");
}

#[test]
fn a_mix_is_one_whatever_its_order_and_scale() {
    let mix = |text: &str| text.parse::<Mix>().unwrap();
    assert_eq!(mix("age=10 fault=90"), mix("fault=9 age"));
    assert_eq!(mix("age=10 fault=90").to_string(), "fault=9 age=1");
}

/// Any value that is right for its field, or none.
fn any_point() -> impl Strategy<Value = Point> {
    let of = |values: &'static [&'static str]| proptest::option::of(proptest::sample::select(values));
    let (pages, flag) = (proptest::option::of(1_u64..64), proptest::option::of(any::<bool>()));
    let words = (
        of(&["disjoint", "overlapping"]),
        of(&["sequential", "random", "hot"]),
        of(&["none", "all", "written", "old"]),
        of(&["fault", "age", "fault=3 unmap=1", "wrprotect split"]),
        of(&["none", "age", "dirty-log", "memslot", "other-vm"]),
        of(&["table", "memslots-first"]),
        of(&["under-lock", "taken-out"]),
        of(&["entries", "subtree"]),
        of(&["none", "faults", "age", "dirty-log"]),
        of(&["off", "counts", "times"]),
        of(&["shared", "exclusive"]),
    );
    let numbers = (
        proptest::option::of(1_u32..8),
        proptest::option::of(0_u64..3),
        pages,
        proptest::option::of(proptest::sample::select(&[0_u64, 4096, 1 << 30, 1 << 40][..])),
        proptest::option::of(0_u32..=100),
        proptest::option::of(1_u32..32),
        (flag.clone(), flag.clone(), flag),
        proptest::option::of(0_u64..2),
        proptest::option::of(1.0_f64..1e6),
    );
    (words, numbers).prop_map(|(words, numbers)| {
        let (threads, each, op_pages, step, write, sparsity, (breaks, defer, logging), delay, rate) = numbers;
        Point {
            threads,
            ops_per_thread: each,
            op_bytes: op_pages.map(|pages| pages * 4096),
            step_bytes: step,
            write_percent: write,
            sparsity,
            breaks,
            defer,
            logging,
            delay_ns: delay,
            delay_site: Some("kvm_age_gfn".into()),
            rate_per_s: rate,
            pattern: words.0.map(|word| word.parse().unwrap()),
            locality: words.1.map(|word| word.parse().unwrap()),
            populate: words.2.map(|word| word.parse().unwrap()),
            mix: words.3.map(|word| word.parse().unwrap()),
            background: words.4.map(|word| word.parse().unwrap()),
            teardown: words.5.map(|word| word.parse().unwrap()),
            place: words.6.map(|word| word.parse().unwrap()),
            free: words.7.map(|word| word.parse().unwrap()),
            during: words.8.map(|word| word.parse().unwrap()),
            counters: words.9.filter(|word| *word != "off").map(|word| word.parse().unwrap()),
            walk: words
                .10
                .map(|word| if word == "shared" { stage2::Walk::Shared } else { stage2::Walk::Exclusive }),
            variant: Some("arm64-7.3".into()),
            strategy: Some("none".into()),
            ..Point::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn canonicalising_twice_is_canonicalising_once(point in any_point()) {
        let once = point.check().unwrap().point;
        let again = Point::from_json(&once.to_json()).unwrap();
        prop_assert_eq!(&again, &once, "it goes through JSON");
        prop_assert_eq!(again.check().unwrap().point, once);
    }

    /// Fields that are null in the canonical form may hold anything.
    #[test]
    fn points_that_differ_only_in_what_has_no_effect_are_equal(point in any_point(), other in any_point()) {
        let canonical = point.check().unwrap().point;
        let mut changed = canonical.clone();
        macro_rules! fill {
            ($($field:ident),+) => {
                $(if changed.$field.is_none() { changed.$field = other.$field.clone(); })+
            };
        }
        fill!(threads, walk, pattern, locality, sparsity, mix, op_bytes, write_percent, logging, background, place);
        fill!(breaks, free, defer, during, variant, strategy, cache, touch_bytes, background_pause_ns);
        if canonical.delay_ns.is_none() {
            changed.delay_site = other.delay_site.clone();
        }
        if canonical.teardown != Some(Ending::Table) {
            changed.step_bytes = other.step_bytes; // with a table, null is the whole of it
        }
        if canonical.ops_per_thread == Some(0) {
            changed.rate_per_s = other.rate_per_s; // with operations, null is a closed loop
        }
        prop_assert_eq!(changed.check().unwrap().point, canonical);
    }
}

#[test]
fn what_has_an_effect_is_in_the_key() {
    let base = point(r#""threads": 2, "populate": "written", "mix": "fault=1 age=1""#);
    let key = |point: Point| point.check().unwrap().point.to_json();
    let changed = [
        Point { threads: Some(3), ..base.clone() },
        Point { pattern: Some(Pattern::Overlapping), ..base.clone() },
        Point { locality: Some(Locality::Hot), ..base.clone() },
        Point { populate: Some(Populate::Old), ..base.clone() },
        Point { background: Some(Background::Age), ..base.clone() },
        Point { counters: Some(Counters::Counts), ..base.clone() },
        Point { op_bytes: Some(4096), ..base.clone() },
        Point { ops_per_thread: Some(7), ..base.clone() },
        Point { rate_per_s: Some(7.5), ..base.clone() },
        Point { sparsity: Some(2), ..base.clone() },
        Point { step_bytes: Some(0), ..base.clone() },
        Point { write_percent: Some(10), ..base.clone() },
    ];
    let mut keys: Vec<String> = changed.into_iter().chain([base]).map(key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 13);
}
