mod common;
use std::sync::atomic::AtomicBool;
use explore::{explore, Settings, Bounds};
use runtime::scheduled::Program;

#[test]
fn survey() {
    let filter = std::env::var("ONLY").unwrap_or_default();
    let limit: u64 = std::env::var("LIMIT").ok().and_then(|s| s.parse().ok()).unwrap_or(20000);
    let first = std::env::var("FIRST").is_ok();
    for scenario in kvm::Scenario::named() {
        for variant in kvm::Variant::KERNELS {
            for strategy in kvm::Strategy::named() {
                let Ok(case) = kvm::Case::new(scenario.clone(), variant, strategy) else { continue };
                if !filter.split(',').all(|f| case.name().contains(f)) { continue }
                let settings = Settings { bounds: Bounds { executions: Some(limit), ..Bounds::default() }, stop_at_first: first, minimise: 0, ..Settings::default() };
                let v = explore(&case, &settings, &AtomicBool::new(false), &mut |_| ()).unwrap();
                let others: Vec<String> = v.findings.iter().map(|f| format!("{}:{}", f.kind, f.object)).collect();
                println!("{:42} {} {} complete={} exec={} classes={} red={} longest={} {:.1}s kinds={:?} findings={:?}", case.name(), v.name(), if v.complete {""} else {"partial"}, v.complete, v.counts.executions, v.counts.complete, v.counts.redundant, v.counts.longest, v.counts.elapsed.as_secs_f64(), v.first_kinds.iter().map(|k| k.name()).collect::<Vec<_>>(), others);
            }
        }
    }
}
