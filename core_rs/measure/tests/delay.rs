//! A longer critical section at a site, and what it does to others.

mod common;

use common::{measured, plan, point};

/// Everyone who takes the lock at the site holds it for longer.
#[test]
fn a_delay_is_spent_at_its_site_only() {
    const DELAY: u64 = 20_000;
    let fields = format!(
        r#""mix": "fault=9 age=1", "ops_per_thread": 400, "op_bytes": 4096, "delay_ns": {DELAY}, "delay_site": "kvm_age_gfn""#
    );
    let measured = measured(&fields);
    let lock = &measured.locks[0];
    let site = |name: &str| lock.write.sites.iter().find(|site| site.site.name() == name).unwrap();
    assert!(site("kvm_age_gfn").hold.min_ns >= DELAY * 98 / 100, "{:?}", site("kvm_age_gfn").hold);
    assert!(lock.read.hold.min_ns < DELAY, "a fault is not delayed: {}", lock.read.hold.min_ns);
    let slow = measured.operations.as_ref().unwrap().longest_hold_ns.unwrap();
    assert!(slow >= DELAY * 98 / 100, "{slow}");
}

/// Arrivals that were due while an operation was slow are slow, too: latency counts from when they were due.
#[test]
fn paced_arrivals_count_from_when_they_were_due() {
    // Each operation takes 200 us, and one arrives every 100 us: the n-th of 40 waits for n times 100 us at least.
    let fields = r#""mix": "age", "ops_per_thread": 40, "op_bytes": 4096, "delay_ns": 200000, "delay_site": "kvm_age_gfn",
        "counters": "times""#;
    let slow = |fields: &str| {
        let latency = measured(fields).classes[0].latency.clone().unwrap();
        assert_eq!(latency.len(), 40);
        latency.count_between(1_000_000, u64::MAX)
    };
    assert!(slow(&format!("{fields}, \"rate_per_s\": 10000.0")) >= 25, "thirty are behind the tenth");
}

/// Two measurements at once, one with a delay: neither feels the other.
#[test]
fn a_delay_is_its_measurement_s_alone() {
    const DELAY: u64 = 100_000;
    let fields = r#""mix": "age", "ops_per_thread": 200, "op_bytes": 4096, "counters": "times""#;
    let delayed = format!("{fields}, \"delay_ns\": {DELAY}, \"delay_site\": \"kvm_age_gfn\"");
    let shortest = |fields: &str| {
        let sites = &measured(fields).locks[0].write.sites;
        sites.iter().find(|site| site.site.name() == "kvm_age_gfn").unwrap().hold.min_ns
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| (0..20).map(|_| shortest(&delayed)).min().unwrap());
        let without = (0..20).map(|_| shortest(fields)).max().unwrap();
        assert!(without < DELAY, "held for {without} ns at least, without a delay");
        let with = other.join().unwrap();
        assert!(with >= DELAY * 98 / 100, "held for {with} ns only, with a delay");
    });
}

#[test]
fn a_delay_without_effect_is_none_and_one_that_cannot_be_is_refused() {
    let elsewhere = plan(r#""delay_ns": 5, "delay_site": "kvm_age_gfn""#);
    assert_eq!((elsewhere.point.delay_ns, elsewhere.point.delay_site), (None, None), "nothing ages");
    let background = plan(r#""delay_ns": 5, "delay_site": "kvm_age_gfn", "background": "age""#);
    assert_eq!(background.point.delay_ns, Some(5));
    let refused = |fields: &str| point(fields).check().unwrap_err().to_string();
    assert!(
        refused(r#""delay_ns": 5, "delay_site": "kvm_age""#)
            .starts_with("delay_site \"kvm_age\" is not one of kvm_handle_guest_abort, ")
    );
    assert_eq!(
        refused(r#""delay_ns": 5, "delay_site": "kvm_age_gfn", "counters": "off""#),
        "delay_ns has no effect with counters \"off\": \"counts\" or \"times\" would be right"
    );
}
