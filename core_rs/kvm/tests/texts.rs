//! Texts of scenarios, strategies and cases: what is read is written the same, and what is wrong is named.

use kvm::{Case, Error, Scenario, Strategy, Variant};
use runtime::scheduled::Program;

fn error_of(text: &str) -> String {
    text.parse::<Scenario>().unwrap_err().to_string()
}

#[test]
fn every_named_scenario_is_read_from_its_own_text() {
    for scenario in Scenario::named() {
        let again: Scenario = scenario.to_string().parse().unwrap();
        assert_eq!((again.set_up, again.tasks), (scenario.set_up, scenario.tasks), "{}", scenario.name);
    }
}

#[test]
fn every_case_is_found_by_its_name() {
    for scenario in Scenario::named() {
        for variant in Variant::all() {
            for strategy in Strategy::named() {
                if let Ok(case) = Case::new(scenario.clone(), variant, strategy) {
                    assert_eq!(case.name().parse::<Case>().unwrap(), case);
                }
            }
        }
    }
}

#[test]
fn a_wrong_text_names_the_value_and_what_would_be_right() {
    for (text, value, right) in [
        ("flash-race", "flash-race", "flush-race"),
        ("setup cache=full; task T1 fds=vm: exit", "full", "filled"),
        ("setup pages=9; task T1 fds=vm: exit", "pages=9", "1 to 4"),
        ("setup objects=x; task T1 fds=vm: exit", "\"x\"", "numbers"),
        ("setup colour=red; task T1 fds=vm: exit", "colour", "cache"),
        ("task T1 fds=vm: shut vm", "shut vm", "close"),
        ("task T1 fds=vm: close fd", "\"fd\"", "stats"),
        ("task T1 fds=vm: close 3:vm", "\"3\"", "1 or 2"),
        ("task T1 fds=vm: reclaim_nonblock T9", "T9", "T1"),
        (
            "task T1 fds=vm: create_device; task T2 mm=T1 files=T1: create_device",
            "create_device",
            "one makes it",
        ),
        ("task T1 fds=vm: delete_slot 7", "\"7\"", "0 to 1"),
        ("task T1 fds=vm: delete_slot 1", "delete_slot 1", "slots=1"),
        ("setup slots=2; task T1 fds=vm: exit", "slots=2", "pages=1"),
        ("task T1 fds=vm: create_vcpu 5", "\"5\"", "0 to 1"),
        ("task T1 fds=vm: exit now", "now", "get_mm TASK"),
        ("task T1 colour=red: exit", "colour", "files"),
        ("task T1 mm=T9 fds=vm: exit", "T9", "T1"),
        ("task T1 fds=vm: kill T9", "T9", "T1"),
        ("task T1 fds=vm: exit, close vm", "close vm", "only `tell N`"),
        ("task T1 fds=vm: exit; task T2: receive vm", "receive vm", "send vm"),
        ("task T1 fds=vm: await 1", "await 1", "tell 1"),
        ("task T1 fds=vm: create_vm", "create_vm", "from the beginning"),
        ("task T1: create_vm; task T2 mm=T1 files=T1: create_vm", "create_vm", "one makes it"),
        ("task T1: exit", "no VM", "fds=vm"),
        ("task T1 fds=vm: exit; task T1 fds=vm: exit", "T1", "two tasks"),
        ("task T1 fds=vm: exit; nonsense", "nonsense", "`task`"),
    ] {
        let error = error_of(text);
        assert!(error.contains(value) && error.contains(right), "{text}: {error}");
    }
}

#[test]
fn a_case_says_why_it_cannot_be() {
    let case = |text: &str| text.parse::<Case>().unwrap_err().to_string();
    assert!(case("flush-race none").contains("variant"));
    assert!(case("flush-race arm64-7.3 soon").contains("claim-under-lock"));
    assert!(case("flush-race-filled mips-7.3 none").contains("cache=never"));
    assert!(case("flush-race-nested riscv-7.3 none").contains("nested=0"));
    assert!(case("gmem-race arm64-6.12 none").contains("guest_memfd"));
    let reason = "flush-race loongarch-7.3 slots-lock".parse::<Case>().unwrap_err();
    assert!(matches!(&reason, Error::NotApplicable { .. }) && reason.to_string().contains("no split cache"));
}
