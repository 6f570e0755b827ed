//! Schedules as text, to be kept and replayed.
//!
//! `pwb1:PROGRAM:RUNS`: a version, the program's name, and whose the actions are, run by run: `0x5.1x3.0` is
//! five of thread 0, three of thread 1, one of thread 0. Guarantee: the text says all that replays an
//! execution, given the program; a program's name may contain anything.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// The version of the text, and of what the numbers mean.
const VERSION: &str = "pwb1";

/// Whose the actions of an execution are, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// The name of the program.
    pub program: String,
    /// The thread of each action.
    pub threads: Vec<usize>,
}

impl Schedule {
    /// How often the processor goes from one thread to another.
    pub fn switches(&self) -> usize {
        self.threads.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// The last part of the text.
    pub(crate) fn runs(&self) -> String {
        let run = |run: &[usize]| match run.len() {
            1 => run[0].to_string(),
            n => format!("{}x{n}", run[0]),
        };
        self.threads.chunk_by(|a, b| a == b).map(run).collect::<Vec<_>>().join(".")
    }

    /// Of the parts of `text`.
    pub(crate) fn of(text: &str, program: &str, runs: &str) -> Result<Self, Error> {
        let bad = |why: String| Error::BadSchedule { text: text.to_owned(), why };
        let mut threads = Vec::new();
        for run in runs.split('.').filter(|_| !runs.is_empty()) {
            let (thread, n) = run.split_once('x').unwrap_or((run, "1"));
            let number = |text: &str| text.parse::<usize>().map_err(|_| bad(format!("{run:?} is no run")));
            let (thread, n) = (number(thread)?, number(n)?);
            if n == 0 || threads.len() + n > MOST_ACTIONS || thread >= crate::MAX_THREADS {
                return Err(bad(format!("{run:?} is no run of a thread below {}", crate::MAX_THREADS)));
            }
            threads.extend(std::iter::repeat_n(thread, n));
        }
        Ok(Self { program: program.to_owned(), threads })
    }
}

/// ```
/// let schedule: explore::Schedule = "pwb1:flush:0x2.1.0".parse()?;
/// assert_eq!((&*schedule.program, &*schedule.threads), ("flush", &[0, 0, 1, 0][..]));
/// assert_eq!(schedule.to_string(), "pwb1:flush:0x2.1.0");
/// # Ok::<(), explore::Error>(())
/// ```
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}:{}:{}", self.program, self.runs())
    }
}

/// More actions than any execution has.
const MOST_ACTIONS: usize = 1 << 24;

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why: String| Error::BadSchedule { text: text.to_owned(), why };
        let (version, rest) = text.split_once(':').ok_or_else(|| bad("there is no ':'".into()))?;
        if version != VERSION {
            let known = version.starts_with("pwb") && version[3..].bytes().all(|byte| byte.is_ascii_digit());
            let other = Error::Version { found: version.to_owned() };
            return Err(if known { other } else { bad(format!("it begins with {version:?}")) });
        }
        let (program, runs) = rest.rsplit_once(':').ok_or_else(|| bad("it names no program".into()))?;
        Self::of(text, program, runs)
    }
}
