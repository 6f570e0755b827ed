//! What tests share: cases by name, and a judge of executions that knows nothing of the explorer.

#![allow(dead_code)] // each test takes what it needs

use std::collections::{BTreeMap, BTreeSet};

use kvm::Case;
use runtime::LockClass;
use runtime::scheduled::{Effect, Execution, Kind, ObjectClass, Outcome, Policy, Program, run};

pub(crate) fn case(scenario: &str, variant: &str, strategy: &str) -> Case {
    Case::new(scenario.parse().unwrap(), variant.parse().unwrap(), strategy.parse().unwrap()).unwrap()
}

/// What an execution did wrong, the first first, as `kind: object`.
pub(crate) fn harm_of(case: &Case, policy: &mut dyn Policy) -> Vec<String> {
    let instance = case.start();
    let execution = run(instance.threads, policy);
    let mut harm = harm_in(&execution);
    match &execution.outcome {
        Outcome::Finished => {
            let end = (instance.end)();
            harm.extend(end.into_iter().map(|violation| format!("{}: {}", violation.rule, violation.object)));
        }
        Outcome::Deadlock(_) => harm.push(String::from("deadlock")),
        Outcome::Abandoned => harm.push(String::from("abandoned")),
        Outcome::Panicked { message, .. } => harm.push(format!("panic: {message}")),
    }
    let mut seen = BTreeSet::new();
    harm.retain(|what| seen.insert(what.clone()));
    harm
}

/// The same, of the actions alone.
fn harm_in(execution: &Execution) -> Vec<String> {
    let mut harm = Vec::new();
    let mut freed = BTreeSet::new();
    let mut spinning: BTreeMap<usize, i32> = BTreeMap::new();
    for action in &execution.actions {
        let info = action.target.map(|target| execution.objects[target.object]);
        let name = info.map_or("", |info| info.name);
        let object = action.target.map(|target| target.object);
        let spins = matches!(
            info.map(|info| info.class),
            Some(ObjectClass::Lock(LockClass::Spin) | ObjectClass::RwLock)
        );
        match action.kind {
            Kind::Free if !freed.insert(object) => harm.push(format!("double free: {name}")),
            Kind::Load(_) | Kind::Store(_) | Kind::CompareExchange | Kind::FetchAdd | Kind::FetchSub
                if freed.contains(&object) =>
            {
                harm.push(format!("use after free: {name}"));
            }
            Kind::Lock | Kind::Read | Kind::Write if spins => {
                *spinning.entry(action.thread).or_default() += 1;
            }
            Kind::Unlock | Kind::ReadUnlock | Kind::WriteUnlock if spins => {
                *spinning.entry(action.thread).or_default() -= 1;
            }
            Kind::MightSleep | Kind::CondResched | Kind::Synchronize
                if spinning.get(&action.thread).is_some_and(|held| *held > 0) =>
            {
                harm.push(String::from("sleeping under a spinning lock"));
            }
            Kind::Lock if spinning.get(&action.thread).is_some_and(|held| *held > 0) => {
                if matches!(info.map(|info| info.class), Some(ObjectClass::Lock(LockClass::Mutex))) {
                    harm.push(String::from("sleeping under a spinning lock"));
                }
            }
            Kind::Violated => {
                if let (Effect::Broken { rule }, Some(object)) = (action.effect, info) {
                    harm.push(format!("{rule}: {}", object.name));
                }
            }
            _ => {}
        }
    }
    harm
}
