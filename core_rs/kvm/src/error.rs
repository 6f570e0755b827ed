//! What can be wrong with a scenario, a variant or a strategy that someone asks for.

/// Why something that was asked for does not exist. The message names the value and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such variant.
    #[error("variant {value:?} is not one of {expected}")]
    Variant {
        /// What was asked.
        value: String,
        /// The names there are.
        expected: String,
    },
    /// No such strategy, and no composition of one.
    #[error("strategy {value:?} is neither one of {expected} nor made of parts such as {example:?}")]
    Strategy {
        /// What was asked.
        value: String,
        /// The names there are.
        expected: String,
        /// A composition.
        example: &'static str,
    },
    /// A word that does not fit in its place.
    #[error("{what} {value:?} is not one of {expected}")]
    Word {
        /// What the word is for.
        what: &'static str,
        /// What was asked.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// No such named scenario, and no text of one.
    #[error(
        "scenario {value:?} is neither one of {expected} nor the text of one (`setup ...`, `task NAME ...: step, step`)"
    )]
    Scenario {
        /// What was asked.
        value: String,
        /// The names there are.
        expected: String,
    },
    /// A line of a scenario that cannot be read.
    #[error("line {line} of the scenario: {what}")]
    Line {
        /// Which, from 1 up.
        line: usize,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// A scenario that cannot be set up.
    #[error("the scenario cannot be set up: {0}")]
    SetUp(String),
    /// An end of a VM that cannot be run at full size.
    #[error("the teardown cannot be run: {0}")]
    AtSize(String),
    /// A guest that one table cannot map.
    #[error("guest_bytes {guest_bytes} needs more table pages than one table may have")]
    OutOfPages {
        /// The guest's size.
        guest_bytes: u64,
    },
    /// A table cannot be as asked.
    #[error(transparent)]
    Table(#[from] stage2::ConfigError),
    /// A name of a case that has no variant in it.
    #[error(
        "case {0:?} does not consist of a scenario, a variant and a strategy, such as `flush-race arm64-7.3 none`"
    )]
    Case(String),
    /// A strategy that has no meaning under a variant.
    #[error("strategy {strategy} does not apply to {variant}: {reason}")]
    NotApplicable {
        /// The strategy.
        strategy: String,
        /// The variant.
        variant: String,
        /// Why.
        reason: String,
    },
}

/// Splits `key=value`.
pub(crate) fn pair<'a>(word: &'a str, what: &'static str) -> Result<(&'a str, &'a str), Error> {
    word.split_once('=').ok_or_else(|| Error::Word {
        what,
        value: word.to_owned(),
        expected: String::from("the form KEY=VALUE"),
    })
}

/// The value of `names` that has the name `value`.
pub(crate) fn one_of<T: Copy>(what: &'static str, names: &[(&str, T)], value: &str) -> Result<T, Error> {
    let found = names.iter().find(|(name, _)| *name == value);
    found.map(|(_, kind)| *kind).ok_or_else(|| Error::Word {
        what,
        value: value.to_owned(),
        expected: names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
    })
}

/// The name that `names` gives to `kind`.
pub(crate) fn name_of<T: Copy + PartialEq>(names: &[(&'static str, T)], kind: T) -> &'static str {
    names.iter().find(|(_, other)| *other == kind).map_or("?", |(name, _)| name)
}
