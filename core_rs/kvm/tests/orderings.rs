//! Legal orders of userspace's steps, counted by hand.

use std::sync::atomic::AtomicBool;

use explore::{Answer, Settings, explore};
use kvm::{Case, Ordering, PathKind, Scenario, Strategy, orderings};

fn all(text: &str) -> Vec<Ordering> {
    orderings(&text.parse().unwrap()).collect()
}

/// Orders, and how many of them may have two flushes of the first VM at once.
fn counts(text: &str) -> (usize, usize) {
    let orders = all(text);
    (orders.len(), orders.iter().filter(|order| order.may_overlap(0)).count())
}

#[test]
fn exit_and_the_last_close_may_overlap_in_either_order() {
    assert_eq!(counts("task T1: exit; task T2 fds=vm: close vm"), (2, 2));
}

#[test]
fn whose_exit_drops_a_descriptor_after_the_address_space_has_flushed_before_the_last_close() {
    assert_eq!(counts("task T1 fds=vm: exit; task T2 fds=vm: close vm"), (2, 0));
    assert_eq!(
        counts("task T1 fds=run0: exit; task T2 fds=vm: close vm"),
        (2, 0),
        "the mapping goes after the flush"
    );
}

#[test]
fn a_close_before_the_exit_lets_the_other_close_be_the_last() {
    // close, close, exit; close, exit, close; and the other's close first: then T1 destroys and exits in turn.
    assert_eq!(counts("task T1 fds=vm: close vm, exit; task T2 fds=vm: close vm"), (3, 2));
}

#[test]
fn a_transient_holder_of_the_address_space_makes_two_flushes_of_one_process() {
    let orders = all("task T1 fds=vm: exit; task R: get_mm T1, put_mm T1");
    assert_eq!(orders.len(), 2, "the holder lets go before or after the exit; it takes before");
    let late = orders.iter().find(|order| order.may_overlap(0)).unwrap();
    let on: Vec<_> = late.paths.iter().map(|path| (path.kind, path.task.as_str())).collect();
    assert_eq!(on, [(PathKind::DestroyVm, "T1"), (PathKind::ExitMmap, "R")]);
}

#[test]
fn a_killed_process_flushes_once_wherever_the_kill_falls() {
    let orders = all("task T1 fds=vm,vcpu0: close vm, close vcpu0, exit; task K: kill T1");
    assert_eq!(orders.len(), 5, "before all, after either, after both in two orders");
    assert!(orders.iter().all(|order| order.flushes(0) == 1 && !order.may_overlap(0)));
}

#[test]
fn steps_that_do_not_matter_to_each_other_make_one_order() {
    assert_eq!(counts("task T1 fds=vm: create_vcpu 0, create_vcpu 1").0, 1);
    assert_eq!(counts("task T1 fds=vm: delete_slot; task T2 fds=2:vm: close 2:vm").0, 1);
}

#[test]
fn a_second_vm_of_the_process_has_a_teardown_of_its_own() {
    let orders = all("task T1: create_vm, close vm, 2:create_vm, close 2:vm, exit");
    assert!(orders.iter().all(|order| (order.flushes(0), order.flushes(1)) == (1, 1)));
    assert!(orders.iter().all(|order| !order.may_overlap(0) && !order.may_overlap(1)));
}

#[test]
fn an_illegal_step_is_in_no_order() {
    assert_eq!(counts("task T1 fds=vm: close vm, delete_slot, close vm").0, 0, "closed twice");
    let orders = all("task T1 fds=vm: close vm, delete_slot");
    let steps: Vec<_> = orders.iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["T1 delete_slot; T1 close vm"], "not on a descriptor that is closed");
}

#[test]
fn a_set_of_everything_has_orders_that_flush_once_each() {
    let text = "task T1: create_vm, create_vcpu 0, create_slot, delete_slot, send vm, close vcpu0, close vm, exit; \
                task T2: receive vm, close vm, exit";
    let orders = all(text);
    assert!(orders.len() > 1);
    assert!(orders.iter().all(|order| order.flushes(0) == 1));
    assert!(orders.iter().any(|order| order.may_overlap(0)));
    assert!(orders.iter().any(|order| !order.may_overlap(0)));
}

#[test]
fn an_order_that_may_overlap_is_a_bug_to_the_explorer_and_one_that_may_not_is_proved() {
    let sets = [
        "task T1 fds=vm: close vm, exit; task T2 fds=vm: close vm",
        "task T1 fds=vm: exit; task T2 fds=vm: close vm",
        "task T1 fds=vm: exit; task R: get_mm T1, put_mm T1",
        "task T1 fds=vm: exit; task T2 mm=T1: exit",
        "task T1: create_vm, log_dirty, create_slot, send vm, close vm, exit; task T2: receive vm, close vm",
        "task T1 fds=vm: close vm, exit; task K: kill T1",
    ];
    for set in sets.map(|text| format!("setup cache=filled; {text}").parse::<Scenario>().unwrap()) {
        for order in orderings(&set) {
            let scenario = order.scenario(&set).unwrap();
            let case = Case::new(scenario, "arm64-7.3".parse().unwrap(), Strategy::none()).unwrap();
            let verdict = explore(&case, &Settings::default(), &AtomicBool::new(false), &mut |_| ()).unwrap();
            let expected = if order.may_overlap(0) { Answer::Bug } else { Answer::Proved };
            assert_eq!(verdict.answer, expected, "{order}: {}\n{verdict}", case.scenario());
        }
    }
}
