//! A finding's schedule as text, with what it showed when it was written, so that a replay can say what changed.
//!
//! `pwb2:PROGRAM:RUNS:NAME-ACTIONS KIND OBJECT`: the schedule, a hash of the program's name, one of who did what where,
//! and the finding. `pwb1:PROGRAM:RUNS`, a schedule alone, is read too. Guarantee: whoever changes a part of the
//! text, or the program, hears of it when it is replayed, but for a chance of one in 2^32.

use std::fmt;
use std::str::FromStr;

use runtime::scheduled::Execution;

use crate::error::Error;
use crate::finding::Finding;
use crate::replay::Replayed;
use crate::schedule::Schedule;

const VERSION: &str = "pwb2";

/// A schedule, and what it showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The schedule.
    pub schedule: Schedule,
    /// What it showed, if that is known.
    pub showed: Option<Showed>,
}

/// What a schedule showed when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Showed {
    /// Of the program's name.
    program: u32,
    /// Of who did what where.
    actions: u32,
    /// The finding's kind, by its name then.
    kind: String,
    /// Its object.
    object: String,
}

impl Record {
    /// Of a finding and the execution by its schedule.
    pub fn new(finding: &Finding, execution: &Execution) -> Self {
        let schedule = finding.schedule.clone();
        let showed = Showed {
            program: hash([&*schedule.program]),
            actions: hash_of_actions(execution, &schedule),
            kind: finding.kind.name().to_owned(),
            object: finding.object.clone(),
        };
        Self { schedule, showed: Some(showed) }
    }

    /// What is not as it was when the text was written, in sentences; none if all is, or nothing is known.
    pub fn changes(&self, replayed: &Replayed) -> Vec<String> {
        let Some(showed) = &self.showed else { return Vec::new() };
        let Showed { kind, object, .. } = showed;
        let mut changes = Vec::new();
        if self.is_of_other_program() {
            changes.push(format!("the text was written for another case than {:?}", self.schedule.program));
        } else if showed.actions != hash_of_actions(&replayed.execution, &self.schedule) {
            changes.push(String::from(
                "the actions are not those that the text was written for: its runs, what its names stand for, or \
                 the model has changed",
            ));
        }
        let is_it = |found: &&Finding| found.kind.name() == kind && found.object == *object;
        if replayed.findings.iter().find(is_it).is_none() {
            let now = match replayed.findings.first() {
                Some(found) if found.kind.is_harm() => format!("{} of {}", found.kind, found.object),
                _ => String::from("no harm"),
            };
            changes.push(format!("it showed {kind} of {object} then, and shows {now} now"));
        }
        changes
    }

    /// Whether the text says that it was written for another program than the one that it names.
    pub fn is_of_other_program(&self) -> bool {
        self.showed.as_ref().is_some_and(|showed| showed.program != hash([&*self.schedule.program]))
    }
}

/// ```
/// let text = "pwb2:flush:0x2.1.0:0badcafe-12345678 double-free kvm.arch.split_page_cache.objects";
/// let record: explore::Record = text.parse()?;
/// assert_eq!(record.schedule, "pwb1:flush:0x2.1.0".parse()?);
/// assert_eq!(record.to_string(), text);
/// # Ok::<(), explore::Error>(())
/// ```
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Showed { program, actions, kind, object }) = &self.showed else {
            return self.schedule.fmt(f);
        };
        let Schedule { program: name, .. } = &self.schedule;
        let runs = self.schedule.runs();
        write!(f, "{VERSION}:{name}:{runs}:{program:08x}-{actions:08x} {kind} {object}")
    }
}

impl FromStr for Record {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some(rest) = text.trim().strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(':')) else {
            return Ok(Self { schedule: text.trim().parse()?, showed: None });
        };
        // The program's name may contain anything, the object's too.
        let parts = rest.match_indices(':').find_map(|(at, _)| {
            let (runs, showed) = rest[at + 1..].split_once(':')?;
            Some((&rest[..at], runs, Showed::read(showed)?))
        });
        let Some((program, runs, showed)) = parts else {
            let why =
                String::from("it does not end with what it showed, such as `:0badcafe-12345678 KIND OBJECT`");
            return Err(Error::BadSchedule { text: text.to_owned(), why });
        };
        Ok(Self { schedule: Schedule::of(text, program, runs)?, showed: Some(showed) })
    }
}

impl Showed {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let (hashes, kind, object) = (words.next()?, words.next()?, words.next()?);
        let (program, actions) = hashes.split_once('-')?;
        let number = |text: &str| if text.len() == 8 { u32::from_str_radix(text, 16).ok() } else { None };
        let (program, actions) = (number(program)?, number(actions)?);
        Some(Self { program, actions, kind: kind.to_owned(), object: object.to_owned() })
    }
}

fn hash_of_actions(execution: &Execution, schedule: &Schedule) -> u32 {
    let words = execution.actions.iter().take(schedule.threads.len()).flat_map(|action| {
        let object = action.target.map_or("", |target| execution.objects[target.object].name);
        [execution.threads[action.thread].as_str(), action.site.name(), object]
    });
    hash(words)
}

/// FNV-1a over words, each with an end, folded to half its width.
fn hash<'a>(words: impl IntoIterator<Item = &'a str>) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in words.into_iter().flat_map(|word| word.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    (hash ^ (hash >> 32)) as u32
}
