//! Legal orders of userspace's steps, counted by hand.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use explore::{Answer, Settings, explore};
use kvm::{Case, Ordering, PathKind, Scenario, Strategy, orderings};
use runtime::scheduled::{Action, Execution, Kind, Outcome, Policy, Program, run};

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
    for order in all("task T1: exit; task T2 fds=vm: close vm") {
        assert_eq!((order.flushes(0), order.flushes_at_most(0)), (1, 2), "{order}");
    }
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

/// One thread at a time, by rank; at a few moments the one that would be next gets the last rank (as PCT does).
struct Ranks {
    last_to_first: Vec<usize>,
    demote_at: Vec<usize>,
}

impl Ranks {
    fn new(seed: usize) -> Self {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let (order, rest) = (seed % 6, seed / 6);
        Self { last_to_first: orders[order].into(), demote_at: vec![rest % 211, rest * 7 % 223] }
    }
}

impl Policy for Ranks {
    fn choose(&mut self, enabled: &[Action], taken: &[Action]) -> Option<usize> {
        let next = |ranks: &[usize]| {
            let first = ranks.iter().rev().find_map(|rank| enabled.iter().position(|at| at.thread == *rank));
            first.unwrap_or(0)
        };
        if self.demote_at.contains(&taken.len()) {
            let thread = enabled[next(&self.last_to_first)].thread;
            self.last_to_first.retain(|rank| *rank != thread);
            self.last_to_first.insert(0, thread);
        }
        Some(next(&self.last_to_first))
    }
}

/// How often a VM was flushed, and whether two flushes of one VM overlapped.
fn flushes_in(execution: &Execution) -> (usize, bool) {
    let mut open: BTreeMap<usize, usize> = BTreeMap::new();
    let (mut flushes, mut overlapped) = (0, false);
    let at_release =
        |action: &&runtime::scheduled::Action| action.site.name() == "kvm_mmu_notifier_release:srcu";
    for action in execution.actions.iter().filter(at_release) {
        let under_way = open.entry(action.target.unwrap().object).or_default();
        if action.kind == Kind::Section {
            flushes += 1;
            overlapped |= *under_way > 0;
            *under_way += 1;
        } else {
            *under_way -= 1;
        }
    }
    (flushes, overlapped)
}

#[test]
fn flushes_overlap_in_executions_of_an_order_exactly_where_the_order_says_so() {
    for text in [
        "task T1: create_vm, create_vcpu 0, send vm, close vcpu0, close vm, exit; task T2: receive vm, close vm",
        "task T1 fds=vm: close vm, exit; task T2 fds=vm: close vm; task K: kill T1",
        "task T1 fds=vm: exit; task R: get_mm T1, put_mm T1",
        "task T1 fds=vm,run0: close vm, close run0, exit; task T2 fds=vcpu0: close vcpu0",
        "task T1 fds=vm: close vm, 2:create_vm, close 2:vm, exit; task T2 fds=vm: close vm",
        "task T1 fds=vm: exit; task T2 files=T1: close vm, exit; task R: open_dump, close dump",
    ] {
        let set: Scenario = text.parse().unwrap();
        for order in orderings(&set) {
            let scenario = order.scenario(&set).unwrap();
            let case = Case::new(scenario, "arm64-7.3".parse().unwrap(), Strategy::none()).unwrap();
            let may = order.may_overlap(0) || order.may_overlap(1);
            let most = order.flushes_at_most(0) + order.flushes_at_most(1);
            let mut seen = false;
            for seed in 0..1500 {
                let instance = case.start();
                let execution = run(instance.threads, &mut Ranks::new(seed));
                assert_eq!(execution.outcome, Outcome::Finished, "{order}");
                let (flushes, overlapped) = flushes_in(&execution);
                assert!(flushes <= most && (may || !overlapped), "{order}, seed {seed}: {flushes} flushes");
                seen |= overlapped;
            }
            assert_eq!(seen, may, "{order}");
        }
    }
}
