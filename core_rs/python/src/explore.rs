//! Explorations and replays of schedules, as dicts and lists that `pyworkbench/explore.py` gives names to.
//!
//! Guarantee: an exploration that a signal, or its progress function, stops answers with what it has found so far.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use explore::{
    Answer, Bounds, Checks, Column, Counts, Exhausted, Finding, How, Line, Progress, Record, Replayed,
    Settings, Verdict,
};
use kvm::{Case, Scenario, Strategy, Variant};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use runtime::scheduled::{Calls, Execution, Program, record_calls};

use crate::dicts::{dict, list};
use crate::enter::{enter, enter_long, enter_until_signal};
use crate::errors::Error;

/// Explores a scenario under a variant and a strategy.
///
/// `progress(executions, frontier, elapsed_s)` is called about twenty times a second; when it answers `False`, the
/// exploration stops, and what it raises is raised.
#[pyfunction]
#[pyo3(name = "explore", signature = (*, scenario, variant, strategy, search, seed, preemptions, actions, executions, time_s, checkers, within, stop_at_first, minimise, progress))]
pub(crate) fn explore_case<'py>(
    py: Python<'py>,
    scenario: &str,
    variant: &str,
    strategy: &str,
    search: &str,
    seed: u64,
    preemptions: Option<usize>,
    actions: Option<usize>,
    executions: Option<u64>,
    time_s: Option<f64>,
    checkers: Option<Vec<String>>,
    within: Vec<usize>,
    stop_at_first: bool,
    minimise: u64,
    progress: Option<Py<PyAny>>,
) -> Result<Bound<'py, PyDict>, Error> {
    let case = Case::new(scenario.parse()?, variant.parse()?, strategy.parse()?)?;
    let time = time_s.map(|time_s| {
        Duration::try_from_secs_f64(time_s)
            .map_err(|error| Error::Input(format!("time_s {time_s} is no time in seconds: {error}")))
    });
    let least = Bounds::default();
    let bounds = Bounds {
        preemptions,
        actions: actions.unwrap_or(least.actions),
        executions,
        time: time.transpose()?,
    };
    let how = How::named(search, seed)?;
    let settings = Settings { how, within, bounds, checks: checks(checkers)?, stop_at_first, minimise };
    let explored = case.clone();
    let (verdict, ladders) = enter_until_signal(py, move |stop| {
        let mut asked = Asked { progress, stop, raised: None };
        let verdict = explore::explore(&explored, &settings, stop, &mut |now| asked.report(now))?;
        asked.end()?;
        let ladders: Vec<_> = verdict
            .findings
            .iter()
            .map(|finding| Told::again(&explored, finding, &settings.checks))
            .collect();
        Ok::<_, Error>((verdict, ladders))
    })?;
    Ok(describe(py, &case, verdict, ladders)?)
}

/// Asks Python whether to go on.
struct Asked<'a> {
    progress: Option<Py<PyAny>>,
    stop: &'a AtomicBool,
    raised: Option<PyErr>,
}

impl Asked<'_> {
    fn report(&mut self, now: &Progress) {
        let Some(progress) = &self.progress else { return };
        let arguments = (now.counts.executions, now.frontier, now.counts.elapsed.as_secs_f64());
        let goes_on = Python::attach(|py| {
            let answer = progress.call1(py, arguments)?;
            Ok::<_, PyErr>(!answer.bind(py).is(pyo3::types::PyBool::new(py, false)))
        });
        if !matches!(goes_on, Ok(true)) {
            self.stop.store(true, Ordering::Relaxed);
            self.raised = self.raised.take().or(goes_on.err());
        }
    }

    /// What it raised is raised.
    fn end(self) -> Result<(), Error> {
        self.raised.map_or(Ok(()), |error| Err(Error::Python(error)))
    }
}

/// For each seed from 0 up the number of the first execution that does harm, if one of the first `executions` does; for the
/// first seeds only, if a signal or `progress`, which is that of `explore`, stops it.
#[pyfunction]
#[pyo3(signature = (*, scenario, variant, strategy, search, seeds, executions, progress))]
pub(crate) fn first_harm(
    py: Python<'_>,
    scenario: &str,
    variant: &str,
    strategy: &str,
    search: &str,
    seeds: u64,
    executions: u64,
    progress: Option<Py<PyAny>>,
) -> Result<Vec<Option<u64>>, Error> {
    let case = Case::new(scenario.parse()?, variant.parse()?, strategy.parse()?)?;
    How::named(search, 0)?;
    let search = search.to_owned();
    enter_until_signal(py, move |stop| {
        let bounds = Bounds { executions: Some(executions), ..Bounds::default() };
        let mut asked = Asked { progress, stop, raised: None };
        let mut found = Vec::new();
        let mut asked_at = Instant::now();
        for seed in 0..seeds {
            let how = How::named(&search, seed)?;
            // Most seeds see harm long before their exploration would ask.
            if asked_at.elapsed() >= Duration::from_millis(50) {
                asked_at = Instant::now();
                asked.report(&Progress { counts: Counts::default(), frontier: 0, findings: found.len() });
            }
            let settings = Settings { how, bounds: bounds.clone(), minimise: 0, ..Settings::default() };
            let verdict = explore::explore(&case, &settings, stop, &mut |now| asked.report(now))?;
            if verdict.answer == Answer::Exhausted(Exhausted::Stopped) {
                break;
            }
            found.push(verdict.bug().map(|bug| bug.first_execution));
        }
        asked.end()?;
        Ok::<_, Error>(found)
    })
}

/// Cuts the executions of a case into parts that can be explored apart: the first choices of each.
#[pyfunction]
#[pyo3(signature = (*, scenario, variant, strategy, depth))]
pub(crate) fn subtrees(
    py: Python<'_>,
    scenario: &str,
    variant: &str,
    strategy: &str,
    depth: usize,
) -> Result<Vec<Vec<usize>>, Error> {
    let case = Case::new(scenario.parse()?, variant.parse()?, strategy.parse()?)?;
    enter_long(py, move |_| Ok::<_, Error>(explore::search::subtrees(&case, depth)))
}

/// Runs a schedule, by its text, on the case that it names: what it shows, and who did what.
#[pyfunction]
#[pyo3(signature = (schedule, *, every_action))]
pub(crate) fn replay_schedule<'py>(
    py: Python<'py>,
    schedule: &str,
    every_action: bool,
) -> Result<Bound<'py, PyDict>, Error> {
    let record: Record = schedule.parse()?;
    let case: Case = record.schedule.program.parse()?;
    let played = case.clone();
    let replayed = enter(py, move || {
        let schedule = &record.schedule;
        let (replayed, calls) = record_calls(|| explore::replay(&played, schedule, &Checks::default()));
        let replayed = match replayed {
            Err(explore::Error::DoesNotFit { program, .. }) if record.is_of_other_program() => {
                Err(explore::Error::OfOtherProgram { program })
            }
            result => result,
        }?;
        let changes = record.changes(&replayed);
        let told = |finding: &Finding| Told::of(&played, &replayed.execution, &calls, finding, every_action);
        let ladders: Vec<_> = replayed.findings.iter().map(told).collect();
        let Replayed { execution, findings } = replayed;
        Ok::<_, Error>((findings, ladders, execution.actions.len(), execution.threads, changes))
    })?;
    let (findings, ladders, actions, threads, changes) = replayed;
    let of_case = of_case(py, &case)?;
    of_case.set_item("actions", actions)?;
    of_case.set_item("changes", changes)?;
    of_case.set_item("findings", describe_findings(py, findings, ladders, &threads)?)?;
    of_case.set_item("threads", threads)?;
    Ok(of_case)
}

/// Why a strategy, or what a scenario sets up, has no meaning under a variant; none if it has.
#[pyfunction]
#[pyo3(signature = (*, scenario, variant, strategy))]
pub(crate) fn does_not_apply(scenario: &str, variant: &str, strategy: &str) -> Result<Option<String>, Error> {
    let (scenario, variant, strategy) = (scenario.parse()?, variant.parse::<Variant>()?, strategy.parse()?);
    match Case::new(scenario, variant, strategy) {
        Ok(_) => Ok(None),
        Err(kvm::Error::NotApplicable { reason, .. } | kvm::Error::SetUp(reason)) => Ok(Some(reason)),
        Err(error) => Err(error.into()),
    }
}

/// What has a name: scenarios, variants and strategies; `kernels` are the variants of the verdict matrix.
#[pyfunction]
pub(crate) fn named_cases(py: Python<'_>) -> Result<Bound<'_, PyDict>, Error> {
    Ok(dict!(py,
        scenarios: list(Scenario::named(), |one| dict!(py,
            text: one.to_string(), name: one.name, about: one.about,
        ))?,
        kernels: Variant::KERNELS.map(|one| one.name),
        variants: Variant::all().map(|one| one.name).collect::<Vec<_>>(),
        calls: kvm::CALLS.to_vec(),
        variants_about: Variant::all().map(|one| one.about()).collect::<Vec<_>>(),
        strategies: Strategy::named().into_iter().map(|one| one.name).collect::<Vec<_>>(),
        strategies_about: list(Strategy::named(), |one| dict!(py, about: one.about(), text: one.text()))?,
        corpus: list(kvm::Regression::corpus(), |one| dict!(py,
            name: one.name, when: one.when, before: of_case(py, &one.before)?, after: of_case(py, &one.after)?,
        ))?,
    )?)
}

/// The legal orders of a scenario's steps, up to `limit`, whether these are all, and whether a signal stopped it.
#[pyfunction]
#[pyo3(signature = (scenario, *, limit))]
pub(crate) fn orderings<'py>(
    py: Python<'py>,
    scenario: &str,
    limit: usize,
) -> Result<(Vec<Bound<'py, PyDict>>, bool, bool), Error> {
    let scenario: Scenario = scenario.parse()?;
    let (orders, complete, stopped) = enter_until_signal(py, move |stop| {
        let mut all = kvm::orderings(&scenario).take_while(|_| !stop.load(Ordering::Relaxed));
        let first = all.by_ref().take(limit);
        let with_scenario = |order: kvm::Ordering| Ok((order.scenario(&scenario)?, order));
        let orders: Vec<_> = first.map(with_scenario).collect::<Result<_, Error>>()?;
        let ended = all.next().is_none();
        let stopped = stop.load(Ordering::Relaxed);
        Ok::<_, Error>((orders, ended && !stopped, stopped))
    })?;
    let orders = list(orders, |(scenario, order)| {
        let vms: BTreeSet<_> = order.paths.iter().map(|path| path.vm).collect();
        dict!(py,
            order: order.to_string(),
            scenario: scenario.name,
            vms: list(vms, |vm| dict!(py,
                vm: vm + 1, flushes: order.flushes(vm), may_overlap: order.may_overlap(vm),
            ))?,
            paths: list(order.paths, |path| dict!(py,
                vm: path.vm + 1, path: path.kind.name(), task: path.task, step: path.step,
                flushes: path.flushes, overlaps: path.overlaps,
            ))?,
        )
    })?;
    Ok((orders, complete, stopped))
}

fn checks(checkers: Option<Vec<String>>) -> Result<Checks, Error> {
    let Some(names) = checkers else { return Ok(Checks::default()) };
    let checkers = names.iter().map(|name| name.parse()).collect::<Result<_, explore::Error>>()?;
    Ok(Checks { checkers, ..Checks::default() })
}

/// What the execution that shows a finding tells of it.
#[derive(Default)]
struct Told {
    /// Its ladder, as text and line by line.
    text: String,
    lines: Vec<Line>,
    columns: Vec<Column>,
    /// Of each of its steps, inside which functions it is, innermost first.
    chains: Vec<Vec<&'static str>>,
    /// Its schedule with what it shows, as text.
    record: Option<String>,
}

impl Told {
    /// Of the execution that the finding's schedule gives; nothing if that does not show it alone, as a lock order
    /// that takes several executions.
    fn again(case: &Case, finding: &Finding, checks: &Checks) -> Self {
        let (replayed, calls) = record_calls(|| explore::replay(case, &finding.schedule, checks));
        let Ok(replayed) = replayed else { return Self::default() };
        let execution = &replayed.execution;
        let record = Some(Record::new(finding, execution).to_string());
        let told = |like| Self { record, ..Self::of(case, execution, &calls, like, false) };
        replayed.finding_like(finding).map_or_else(Self::default, told)
    }

    fn of(case: &Case, execution: &Execution, calls: &Calls, finding: &Finding, every_action: bool) -> Self {
        let chain = |step: &explore::Step| {
            let is_taken = step.action < execution.actions.len();
            if is_taken { calls.chain(execution, step.action) } else { Vec::new() }
        };
        let lines = explore::lines(case, execution, finding, every_action);
        Self {
            text: explore::ladder(case, execution, finding, Some(calls), every_action),
            columns: explore::columns(execution, &lines, Some(calls)),
            lines,
            chains: finding.steps.iter().map(chain).collect(),
            record: Some(Record::new(finding, execution).to_string()),
        }
    }
}

fn of_case<'py>(py: Python<'py>, case: &Case) -> PyResult<Bound<'py, PyDict>> {
    let scenario = case.scenario();
    dict!(py,
        program: case.name(),
        walker: case.walker().to_string(),
        geometry: case.geometry(),
        scenario: &scenario.name,
        scenario_text: scenario.to_string(),
        guest_pages: scenario.set_up.pages,
        variant: case.variant().name,
        strategy: &case.strategy().name,
    )
}

fn describe<'py>(
    py: Python<'py>,
    case: &Case,
    verdict: Verdict,
    ladders: Vec<Told>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = of_case(py, case)?;
    let why = match &verdict.answer {
        Answer::Exhausted(why) => Some(why.to_string()),
        Answer::Proved | Answer::Bug => None,
    };
    dict.set_item("answer", verdict.name())?;
    dict.set_item("why", why)?;
    dict.set_item("says", verdict.says)?;
    dict.set_item("complete", verdict.complete)?;
    let first_kinds: Vec<_> = verdict.first_kinds.iter().map(|kind| kind.name()).collect();
    dict.set_item("first_kinds", first_kinds)?;
    let counts = verdict.counts;
    dict.set_item("executions", counts.executions)?;
    dict.set_item("classes", counts.complete)?;
    dict.set_item("redundant", counts.redundant)?;
    dict.set_item("cut", counts.cut)?;
    dict.set_item("actions", counts.actions)?;
    dict.set_item("longest", counts.longest)?;
    dict.set_item("elapsed_s", counts.elapsed.as_secs_f64())?;
    let scope = verdict.scope;
    dict.set_item("findings", describe_findings(py, verdict.findings, ladders, &scope.threads)?)?;
    dict.set_item("threads", scope.threads)?;
    dict.set_item("search", scope.search)?;
    dict.set_item("bounds", scope.bounds.to_string())?;
    dict.set_item("checkers", scope.checkers.iter().map(|name| name.as_str()).collect::<Vec<_>>())?;
    dict.set_item("memory", scope.memory)?;
    Ok(dict)
}

fn describe_findings<'py>(
    py: Python<'py>,
    findings: Vec<Finding>,
    ladders: Vec<Told>,
    threads: &[String],
) -> PyResult<Vec<Bound<'py, PyDict>>> {
    list(findings.into_iter().zip(ladders), |(finding, told)| {
        let chains = told.chains.into_iter().chain(std::iter::repeat(Vec::new()));
        dict!(py,
            kind: finding.kind.name(),
            harm: finding.kind.is_harm(),
            schedule: told.record.unwrap_or_else(|| finding.schedule.to_string()),
            switches: finding.schedule.switches(),
            object: finding.object,
            what: finding.what,
            steps: list(finding.steps.into_iter().zip(chains), |(step, inside)| dict!(py,
                role: step.role.name(), thread: step.thread, site: step.site, action: step.action, inside: inside,
            ))?,
            first_execution: finding.first_execution,
            executions: finding.executions,
            ladder: told.text,
            columns: list(told.columns, |column| dict!(py,
                thread: threads.get(column.thread), head: column.head, calls: column.calls,
            ))?,
            lines: list(told.lines, |line| dict!(py,
                action: line.action,
                thread: threads.get(line.thread),
                function: line.function,
                text: line.text,
                note: line.note,
            ))?,
        )
    })
}
