mod common;
use std::collections::BTreeMap;
use runtime::scheduled::{Program, RandomWalk, Replay};
use common::harm_of;

#[test]
fn survey() {
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(300);
    for scenario in kvm::Scenario::named() {
        for variant in kvm::Variant::all() {
            for strategy in kvm::Strategy::named() {
                let Ok(case) = kvm::Case::new(scenario.clone(), variant, strategy) else { continue };
                let sequential = harm_of(&case, &mut Replay(vec![]));
                let mut first: BTreeMap<String, u32> = BTreeMap::new();
                for seed in 0..seeds {
                    let harm = harm_of(&case, &mut RandomWalk::new(seed, 20_000));
                    if let Some(h) = harm.first() { *first.entry(h.clone()).or_default() += 1; }
                }
                println!("{:40} seq {:?} first {:?}", case.name(), sequential, first);
            }
        }
    }
}
