//! The flush race on both runtimes.

use kvm::{Case, Scenario};
use runtime::scheduled::{Kind, Outcome, Program, RandomWalk, Replay, run};

fn case(scenario: &str, variant: &str, strategy: &str) -> Case {
    Case::new(scenario.parse().unwrap(), variant.parse().unwrap(), strategy.parse().unwrap()).unwrap()
}

#[test]
fn one_task_after_the_other_is_harmless() {
    for scenario in Scenario::named() {
        for variant in kvm::Variant::KERNELS {
            for strategy in kvm::Strategy::named() {
                let Ok(case) = Case::new(scenario.clone(), variant, strategy) else { continue };
                let instance = case.start();
                let execution = run(instance.threads, &mut Replay(vec![]));
                let naive = matches!(execution.outcome, Outcome::Deadlock(_));
                if naive {
                    println!("{}: {:?}", case.name(), execution.outcome);
                    continue;
                }
                println!("{}: {:?} {} actions", case.name(), execution.outcome, execution.actions.len());
                assert_eq!((instance.end)(), [], "{}", case.name());
            }
        }
    }
}

#[test]
fn some_random_orders_free_the_filled_cache_twice() {
    let case = case("flush-race-filled", "arm64-7.3", "none");
    let mut hits = 0;
    for seed in 0..2000 {
        let instance = case.start();
        let execution = run(instance.threads, &mut RandomWalk::new(seed, 10_000));
        let mut freed = std::collections::BTreeSet::new();
        hits += u32::from(execution.actions.iter().any(|a| a.kind == Kind::Free && !freed.insert(a.target.unwrap().object)));
    }
    println!("{hits}");
    assert!(hits > 0);
}
