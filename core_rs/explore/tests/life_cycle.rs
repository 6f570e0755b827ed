//! On the life cycle of a VM: random searches find nothing that DPOR does not, and every bug replays.

mod common;

use std::collections::BTreeSet;

use common::{all, verdict};
use explore::{How, Kind, Settings, Verdict, replay};
use kvm::{Case, Scenario, Strategy, Variant};

/// The cases of a named scenario: every kernel, every strategy that applies.
fn cases(scenario: &str) -> Vec<Case> {
    let scenario =
        Scenario::named().into_iter().find(|named| named.name == scenario).expect("a named scenario");
    let of = |variant: Variant| {
        let scenario = scenario.clone();
        let strategies = Strategy::named().into_iter();
        strategies.filter_map(move |strategy| Case::new(scenario.clone(), variant, strategy).ok())
    };
    Variant::all().flat_map(of).collect()
}

fn found(verdict: &Verdict) -> BTreeSet<(Kind, &str)> {
    let findings = verdict.findings.iter().filter(|finding| finding.kind != Kind::LockOrder);
    findings.map(|finding| (finding.kind, &*finding.object)).collect()
}

#[test]
fn random_searches_find_nothing_in_a_flush_race_that_dpor_does_not() {
    let cases = cases("flush-race-filled");
    assert!(cases.len() > 20);
    for case in cases {
        let by_dpor = verdict(&case, &all());
        assert!(by_dpor.complete, "{}", by_dpor.scope);
        for how in [How::Random { seed: 1 }, How::Pct { seed: 1, depth: 3 }, How::Surw { seed: 1 }] {
            let mut settings = Settings { how, ..all() };
            settings.bounds.executions = Some(30);
            let by_chance = verdict(&case, &settings);
            assert!(found(&by_chance).is_subset(&found(&by_dpor)), "{how:?} {}", by_dpor.scope);
            let firsts: BTreeSet<_> = by_chance.first_kinds.iter().collect();
            assert!(firsts.is_subset(&by_dpor.first_kinds.iter().collect()), "{how:?} {}", by_dpor.scope);
        }
    }
}

#[test]
fn every_bug_of_a_flush_race_replays_from_its_text() {
    let mut bugs = 0;
    for case in cases("flush-race-filled") {
        let settings = Settings::default();
        if let Some(bug) = verdict(&case, &settings).bug() {
            let schedule = bug.schedule.to_string().parse().unwrap();
            assert!(replay(&case, &schedule, &settings.checks).unwrap().shows(bug), "{}", bug.schedule);
            bugs += 1;
        }
    }
    assert!(bugs > 0);
}
