//! The crate's errors.

/// Why an exploration could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A schedule's text is not one.
    #[error(
        "{text:?} is no schedule: {why}; a schedule looks like `pwb2:CASE:0x5.1x3:WHAT IT SHOWED`, as a verdict says it"
    )]
    BadSchedule {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A schedule is of another version.
    #[error("the schedule is of version {found:?}, and pwb1 and pwb2 are known: explore again to get one")]
    Version {
        /// The version that the text names.
        found: String,
    },
    /// A schedule is of another program.
    #[error("the schedule is of {named:?}, not of {given:?}")]
    OtherProgram {
        /// The program that the schedule names.
        named: String,
        /// The one that was to be replayed.
        given: String,
    },
    /// A schedule does not fit its program: the code has changed.
    #[error(
        "the schedule does not fit {program:?}: action {action} is thread {thread}'s, and {able}; its runs, what its \
         names stand for, or the model has changed"
    )]
    DoesNotFit {
        /// The program.
        program: String,
        /// The number of the action, from 0 up.
        action: usize,
        /// The thread that the schedule names.
        thread: usize,
        /// Who could have gone on, in words.
        able: String,
    },
    /// A schedule was written for another program than it names, and does not fit that.
    #[error("the schedule was written for another case than {program:?}, and does not fit that")]
    OfOtherProgram {
        /// The program that it names.
        program: String,
    },
    /// A program is not a function of the choices.
    #[error(
        "{program:?} is not deterministic: at action {action} of an execution that began like the one before, \
         thread {thread} cannot go on; everything that threads share must be in words and locks of the runtime"
    )]
    Diverged {
        /// The program.
        program: String,
        /// The number of the action.
        action: usize,
        /// The thread that should have gone on.
        thread: usize,
    },
    /// Too many threads.
    #[error("{program:?} has {threads} threads, at most {} can be explored", crate::MAX_THREADS)]
    TooManyThreads {
        /// The program.
        program: String,
        /// How many.
        threads: usize,
    },
    /// No search of that name.
    #[error("there is no search {name:?}; there are dpor, dfs, random, pct, surw")]
    NoSearch {
        /// The name that was asked for.
        name: String,
    },
    /// No checker of that name.
    #[error("there is no checker {name:?}; there are memory, race, lockdep, deadlock, stall, tlb, lifecycle")]
    NoChecker {
        /// The name that was asked for.
        name: String,
    },
}
