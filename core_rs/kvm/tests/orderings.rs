//! Legal orders of userspace's steps.
use kvm::{orderings, Scenario};
#[test]
fn look() {
    for text in [
        "task T1: exit; task T2 fds=vm: close vm",
        "task T1 fds=vm: close vm, exit; task T2 fds=vm: close vm",
        "task T1 fds=vm: exit; task T2 fds=vm: close vm",
        "task T1 fds=vm: exit; task R: get_mm T1, put_mm T1",
        "task T1: create_vm, send vm, close vm, exit; task T2: receive vm, close vm",
        "task T1: create_vm, create_vcpu 0, create_slot, delete_slot, send vm, close vcpu0, close vm, exit; task T2: receive vm, close vm, exit",
        "task T1 fds=vm,vcpu0: close vm, close vcpu0, exit; task K: kill T1",
        "task T1 fds=run0: exit; task T2 fds=vm: close vm",
        "task T1: create_vm, close vm, 2:create_vm, close 2:vm, exit",
    ] {
        let s: Scenario = text.parse().unwrap();
        let all: Vec<_> = orderings(&s).collect();
        println!("{text}: {} orders, {} may overlap", all.len(), all.iter().filter(|o| o.may_overlap(0)).count());
        for o in all.iter().take(8) { println!("   {o}   {:?}", o.paths.iter().map(|p| (p.kind.name(), &p.task, p.step, p.flushes, p.overlaps)).collect::<Vec<_>>()); }
    }
}
