//! KASAN's reports, of a real kernel and as the documentation shows them; and the objects that a trace knows.

mod common;

use std::path::Path;

use capture::{Access, CaptureError, KasanReport, compare_chains, kasan_in, parse_kasan};
use common::{Directory, bytes, captures, lines, text};

const CONSOLE: &str = "race/own-b1/console.txt.gz";

fn functions(stack: &[capture::Frame]) -> Vec<&str> {
    stack.iter().map(capture::Frame::function).collect()
}

fn parse(log: &str) -> Vec<KasanReport> {
    parse_kasan(log.as_bytes(), "console.txt").unwrap()
}

#[test]
fn the_twelve_reports_of_a_real_kernel_are_read_whole() {
    let reports = parse_kasan(&bytes(CONSOLE), CONSOLE).unwrap();
    assert_eq!(reports.len(), 12);
    for report in &reports {
        assert_eq!((report.kind.as_str(), report.place.as_str()), ("double-free", "kvfree+0x3c/0x50"));
        assert_eq!((report.access, report.size_bytes, report.complete), (Some(Access::Free), None, true));
        let object = report.object.as_ref().unwrap();
        assert_eq!(Some(object.address), report.address);
        assert_eq!((object.cache.as_deref(), object.size_bytes), (Some("kmalloc-8k"), Some(8192)));
        let [allocated, freed] = [&report.allocated, &report.freed].map(|track| track.as_ref().unwrap());
        let pids = [report.task.as_ref(), allocated.task.as_ref(), freed.task.as_ref()];
        let [task, allocator, freer] = pids.map(|task| task.unwrap().pid);
        assert!(task != freer && task.abs_diff(freer) == 1 && allocator == task.min(freer), "{report:?}");
        assert!(functions(&allocated.stack).contains(&"kvm_mmu_split_huge_pages"), "{report:?}");
        let ways = [&report.stack, &freed.stack].map(|stack| {
            let functions = functions(stack);
            assert!(functions.contains(&"kvm_mmu_free_memory_cache"), "{functions:?}");
            functions.contains(&"kvm_destroy_vm")
        });
        assert_ne!(ways[0], ways[1], "one side comes from the last close, the other from exit_mmap");
    }
    let first = &reports[0];
    assert_eq!((first.line, first.time_us, first.cpu), (198, Some(5_329_163), Some(1)));
    assert_eq!(first.address, Some(0xffff_0000_06ee_4000));
    assert!(reports.iter().all(|report| report.kernel.as_deref() == Some("7.3.4-kvmcap")));
    assert_eq!((first.stack.len(), first.freed.as_ref().unwrap().stack.len()), (22, 21));
    assert_eq!(first.stack[0].offset, Some((0x1c, 0x30)));
}

#[test]
fn the_log_of_kmsg_gives_what_the_console_gives() {
    let without_lines = |file| {
        let mut reports = parse_kasan(&bytes(file), file).unwrap();
        for report in &mut reports {
            report.line = 0;
        }
        reports
    };
    assert_eq!(without_lines("race/own-b1/dmesg.gz"), without_lines(CONSOLE));
}

#[test]
fn the_trace_beside_the_log_names_the_object() {
    let console = captures().join(CONSOLE);
    for report in kasan_in(&console, None).unwrap() {
        let known = report.known.as_ref().unwrap();
        assert_eq!(known.name, "kvm.arch.split_page_cache.objects");
        assert_eq!(known.mc.unwrap() - known.kvm.unwrap(), 0xd28);
        let mut pids: Vec<_> = known.calls.iter().map(|call| call.pid).collect();
        pids.sort_unstable();
        let mut told = [report.task.as_ref().unwrap().pid, report.freed.unwrap().task.unwrap().pid];
        told.sort_unstable();
        assert_eq!(pids, told);
        assert!(known.calls.iter().all(|call| call.nobjs.unwrap() >= 0 && call.op == "mc_free"));
    }
}

#[test]
fn a_log_alone_names_no_object_and_a_trace_elsewhere_does() {
    let directory = Directory::of("race/own-b1", &["console.txt.gz"]);
    let alone = kasan_in(directory.path(), None).unwrap();
    assert!(alone.iter().all(|report| report.known.is_none()));
    let trace = captures().join("race/own-b1/trace.S6b.txt.gz");
    let named = kasan_in(&directory.path().join("console.txt.gz"), Some(&trace)).unwrap();
    assert!(named.iter().all(|report| report.known.is_some()));
    let other = kasan_in(directory.path(), Some(&captures().join("deb-n1/ops.S5.jsonl.gz"))).unwrap();
    assert!(other.iter().all(|report| report.known.is_none()), "another machine's trace has other addresses");
}

const USE_AFTER_FREE: &str = "\
==================================================================
BUG: KASAN: slab-use-after-free in kvm_nested_s2_unmap+0x88/0x120 [kvm]
Write of size 8 at addr ffff00000a1b2c08 by task kworker/u4:2/77

CPU: 3 PID: 77 Comm: kworker/u4:2 Tainted: G    B   6.12.9 #1
Call trace:
 dump_backtrace+0xa0/0x128
 kvm_nested_s2_unmap+0x88/0x120 [kvm]
 kvm_unmap_gfn_range+0x30/0x48 [kvm]

Allocated by task 40 on cpu 1 at 12.345678s:
 kasan_save_stack+0x38/0x60 mm/kasan/common.c:47
 __kmalloc_node arch/../slub.c:4141 [inline]
 kvm_vcpu_init_nested+0x4c/0x1d0 arch/arm64/kvm/nested.c:66

Freed by task 41 on cpu 0 at 12.399999s:
 kfree+0x1c8/0x440
 kvm_vcpu_init_nested.part.0+0x120/0x1d0

Last potentially related work creation:
 kasan_save_stack+0x38/0x60
 call_rcu+0x48/0x600

The buggy address belongs to the object at ffff00000a1b2c00
 which belongs to the cache kmalloc-cg-1k of size 1024
The buggy address is located 8 bytes inside of
 freed 1024-byte region [ffff00000a1b2c00, ffff00000a1b3000)

==================================================================
";

#[test]
fn a_use_after_free_names_access_size_and_every_stack() {
    let [report] = &parse(USE_AFTER_FREE)[..] else { panic!("one report") };
    assert_eq!((report.kind.as_str(), report.access), ("slab-use-after-free", Some(Access::Write)));
    assert_eq!((report.size_bytes, report.address), (Some(8), Some(0xffff_0000_0a1b_2c08)));
    let task = report.task.as_ref().unwrap();
    assert_eq!((task.pid, task.comm.as_deref(), report.cpu), (77, Some("kworker/u4:2"), Some(3)));
    assert_eq!(functions(&report.stack), ["dump_backtrace", "kvm_nested_s2_unmap", "kvm_unmap_gfn_range"]);
    assert_eq!(report.stack[1].module.as_deref(), Some("kvm"));
    let allocated = report.allocated.as_ref().unwrap();
    assert_eq!((allocated.task.as_ref().unwrap().pid, allocated.cpu), (40, Some(1)));
    assert_eq!(functions(&allocated.stack), ["kasan_save_stack", "__kmalloc_node", "kvm_vcpu_init_nested"]);
    assert_eq!(allocated.stack[1].offset, None);
    let freed = report.freed.as_ref().unwrap();
    assert_eq!(functions(&freed.stack), ["kfree", "kvm_vcpu_init_nested"]);
    let object = report.object.as_ref().unwrap();
    assert_eq!((object.address, object.cache.as_deref()), (0xffff_0000_0a1b_2c00, Some("kmalloc-cg-1k")));
    assert!(report.complete);
}

#[test]
fn lines_of_others_inside_a_report_do_not_end_up_in_it() {
    let oops = "\
WARNING: CPU: 0 PID: 5 at kernel/foo.c:12 foo+0x1/0x2
CPU: 0 PID: 5 Comm: other Not tainted 6.12.9 #1
Call trace:
 not_ours+0x1/0x2

";
    let mixed = USE_AFTER_FREE
        .replace("Call trace:\n dump", "S6b iter 5\nCall trace:\n dump")
        .replace(" kvm_unmap_gfn_range+", "init: hello\n kvm_unmap_gfn_range+")
        .replace("\nAllocated by", &format!("\n{oops}\nAllocated by"))
        .replace("\nCPU: 3", &format!("\n{oops}CPU: 3"));
    let mut want = parse(USE_AFTER_FREE);
    want[0].line = 2;
    assert_eq!(parse(&mixed), want);
}

#[test]
fn a_caller_in_front_of_each_line_tells_whose_it_is() {
    let report = format!("\n{USE_AFTER_FREE}").trim_end().replace('\n', "\n[   12.400000][   T77] ");
    let noise = "[   12.400001][    T5] Call trace:\n[   12.400001][    T5]  not_ours+0x1/0x2\n";
    let mixed = report.replace("[   12.400000][   T77] Call", &format!("{noise}[   12.400000][   T77] Call"));
    let mixed = mixed
        .replace("[   12.400000][   T77]  kvm_unmap", &format!("{noise}[   12.400000][   T77]  kvm_unmap"));
    let mut found = parse(&mixed);
    assert_eq!(found[0].time_us, Some(12_400_000));
    (found[0].time_us, found[0].line) = (None, 2);
    assert_eq!(found, parse(USE_AFTER_FREE));
}

#[test]
fn a_report_that_is_cut_is_given_as_far_as_it_goes() {
    let all = lines(USE_AFTER_FREE);
    for count in 2..all.len() - 1 {
        let [report] = &parse(&("[    1.000000] x\n".to_owned() + &all[..count].concat()))[..] else {
            panic!("one report")
        };
        assert!(!report.complete);
        assert_eq!(report.stack.len(), count.saturating_sub(6).min(3));
        assert_eq!(report.freed.is_some(), count > 15);
    }
    let twice = all[..20].concat() + USE_AFTER_FREE;
    assert_eq!(parse(&twice).iter().map(|report| report.complete).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn an_oops_at_an_address_near_zero_is_a_report_too() {
    let log = "\
[    9.1] Unable to handle kernel paging request at virtual address dfff800000000003
[    9.1] KASAN: null-ptr-deref in range [0x0000000000000018-0x000000000000001f]
[    9.1] CPU: 1 UID: 0 PID: 43 Comm: T2 Not tainted 7.3.4 #1
[    9.1] pc : kvm_mmu_free_memory_cache+0x40/0x118
[    9.1] Call trace:
[    9.1]  kvm_mmu_free_memory_cache+0x40/0x118 (P)
[    9.1]  kvm_uninit_stage2_mmu+0x28/0x40
[    9.1] Code: aa0003f3
[    9.1] ---[ end trace 0000000000000000 ]---
";
    let [report] = &parse(log)[..] else { panic!("one report") };
    assert_eq!((report.kind.as_str(), report.address), ("null-ptr-deref", Some(0x18)));
    assert_eq!((report.place.as_str(), report.cpu), ("kvm_mmu_free_memory_cache+0x40/0x118", Some(1)));
    assert_eq!(functions(&report.stack), ["kvm_mmu_free_memory_cache", "kvm_uninit_stage2_mmu"]);
    let task = report.task.as_ref().unwrap();
    assert_eq!((task.pid, task.comm.as_deref()), (43, Some("T2")));
    assert!(report.complete);
}

#[test]
fn a_free_of_an_older_kernel_without_an_address_has_its_task_and_object() {
    let rule = "=".repeat(66);
    let log = format!(
        "\
[    9.1] {rule}
[    9.1] BUG: KASAN: double-free or invalid-free in kvm_mmu_free_memory_cache+0x40/0x118
[    9.1]
[    9.1] CPU: 1 PID: 43 Comm: my vmm #2 Tainted: G    B             5.10.0-9-arm64 #1 Debian
[    9.1] Call trace:
[    9.1]  kfree+0x40/0x118
[    9.1]
[    9.1] The buggy address belongs to the object at ffff000006ee4000
[    9.1]  which belongs to the cache kmalloc-8k of size 8192
[    9.1] {rule}
"
    );
    let [report] = &parse(&log)[..] else { panic!("one report") };
    let task = report.task.as_ref().unwrap();
    assert_eq!((task.pid, task.comm.as_deref()), (43, Some("my vmm #2")));
    assert_eq!((report.kernel.as_deref(), report.cpu), (Some("5.10.0-9-arm64"), Some(1)));
    assert_eq!(report.object.as_ref().unwrap().address, 0xffff_0000_06ee_4000);
    assert!(report.complete);
}

#[test]
fn noise_of_a_serial_line_is_passed_over_and_a_binary_file_is_not() {
    let mut log = b"\xff\0\x1b[0m[    9.123456] BUG: KASAN: invalid-free in kfree+0x40/0x118\n".to_vec();
    log.extend(b"[    9.123460] Free of addr ffff000006ee4000 by task T2/43\n");
    let [report] = &parse_kasan(&log, "console.txt").unwrap()[..] else { panic!("one report") };
    assert_eq!((report.kind.as_str(), report.address), ("invalid-free", Some(0xffff_0000_06ee_4000)));
    let binary: Vec<u8> = log.iter().flat_map(|byte| [0, *byte]).collect();
    assert!(parse_kasan(&binary, "console.txt").unwrap_err().to_string().contains("binary"));
}

#[test]
fn two_chains_are_compared_on_what_is_modelled() {
    let report = &parse_kasan(&bytes(CONSOLE), CONSOLE).unwrap()[0];
    let modelled = ["kvm_mmu_free_memory_cache", "kvm_arch_flush_shadow_all", "kvm_destroy_vm", "exit_mmap"];
    let close = ["kvm_mmu_free_memory_cache:kvfree", "kvm_arch_flush_shadow_all", "kvm_destroy_vm"];
    let found = compare_chains(&functions(&report.stack), &close, &modelled);
    assert!(found.agrees(), "{found:?}");
    assert_eq!(found.one, ["kvm_destroy_vm", "kvm_arch_flush_shadow_all", "kvm_mmu_free_memory_cache"]);
    let freed = functions(&report.freed.as_ref().unwrap().stack);
    let found = compare_chains(&freed, &close, &modelled);
    assert_eq!((found.agrees(), found.common, found.one[0].as_str()), (false, 0, "exit_mmap"));
}

#[test]
fn what_is_no_log_is_refused_by_name_and_a_log_without_a_report_is_not() {
    let console = "race/deb-a/console.txt.gz";
    assert_eq!(parse_kasan(&bytes(console), console).unwrap(), []);
    let refused = |bytes: &[u8], name: &str| parse_kasan(bytes, name).unwrap_err().to_string();
    assert!(refused(b"", "console.txt").starts_with("console.txt:1: not a kernel's log: it is empty"));
    assert!(refused(b"Dear reader,\n", "console.txt").starts_with("console.txt:1: not a kernel's log"));
    assert!(refused(b"\x7fELF\0\0", "console.txt").contains("binary"));
    let cut = refused(&bytes(CONSOLE)[..5000], "console.txt.gz");
    assert!(cut.starts_with("console.txt.gz:") && cut.contains("breaks off"), "{cut}");
    let none = kasan_in(Directory::new().path(), None).unwrap_err();
    assert!(matches!(none, CaptureError::Directory { .. }), "{none}");
    assert!(matches!(kasan_in(Path::new("/no/such"), None), Err(CaptureError::Io { .. })));
    let beside = Directory::of("race/own-b1", &["console.txt.gz"]);
    beside.put("trace.S6b.txt", &text("race/own-b1/trace.S6b.txt.gz")[..9000]);
    let error = kasan_in(beside.path(), None).unwrap_err().to_string();
    assert!(error.contains("trace.S6b.txt:"), "{error}");
}
