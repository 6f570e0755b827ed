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
        "scenario {value:?} is neither one of the {count} that have names{closest} (`pwb explore --list` lists them) \
         nor the text of one (`setup ...; task NAME ...: step, step`)"
    )]
    Scenario {
        /// What was asked.
        value: String,
        /// How many names there are.
        count: usize,
        /// The names most like it, in words.
        closest: String,
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
        "case {value:?} does not consist of a scenario, a variant ({variants}) and a strategy, such as \
         `flush-race arm64-7.3 none`"
    )]
    Case {
        /// What was asked.
        value: String,
        /// The variants there are.
        variants: String,
    },
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

/// `, of which NAME and NAME are closest`, up to three; empty if no name is like `value`.
pub(crate) fn closest(value: &str, names: &[&str]) -> String {
    let mut near: Vec<_> = names.iter().map(|name| (distance(value, name), *name)).collect();
    near.retain(|(far, name)| {
        let part = value.len() >= 4 && (name.contains(value) || value.contains(name));
        part || *far <= 1 + value.len().max(name.len()) / 4
    });
    near.sort_unstable();
    let near: Vec<_> = near.into_iter().take(3).map(|(_, name)| name).collect();
    match near.as_slice() {
        [] => String::new(),
        [one] => format!(", of which {one} is closest"),
        [first @ .., last] => format!(", of which {} and {last} are closest", first.join(", ")),
    }
}

/// How many letters must be put in, taken out or changed to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (place, same) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != *same);
            diagonal = row[place + 1];
            row[place + 1] = change.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

/// The name that `names` gives to `kind`.
pub(crate) fn name_of<T: Copy + PartialEq>(names: &[(&'static str, T)], kind: T) -> &'static str {
    names.iter().find(|(_, other)| *other == kind).map_or("?", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::{closest, distance};

    #[test]
    fn the_closest_names_are_those_that_a_slip_of_the_keyboard_leads_to() {
        let names = ["flush-race", "flush-race-filled", "flush-age", "stall", "second-vm"];
        assert_eq!(closest("flush-rase", &names), ", of which flush-race and flush-age are closest");
        assert_eq!(
            closest("flush-race-filed", &names),
            ", of which flush-race-filled and flush-race are closest"
        );
        assert_eq!(closest("secondvm", &names), ", of which second-vm is closest");
        assert_eq!(closest("", &names), "");
        assert_eq!(closest("x", &names), "");
        assert_eq!([distance("abc", "abc"), distance("abc", ""), distance("kitten", "sitting")], [0, 3, 3]);
    }
}
