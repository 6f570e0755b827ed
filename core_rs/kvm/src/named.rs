//! The named scenarios.

use crate::scenario::Scenario;

/// Name, what it shows, and text.
const NAMED: &[(&str, &str, &str)] = &[
    (
        "flush-race",
        "exit_mm in one task against the last close of the VM in another (May 2026); eager splitting never used",
        "task T1: exit\ntask T2 fds=vm: close vm",
    ),
    (
        "flush-race-filled",
        "the flush race with a split cache that holds a page",
        "setup cache=filled\ntask T1: exit\ntask T2 fds=vm: close vm",
    ),
];

impl Scenario {
    /// Their names.
    pub(crate) fn names() -> Vec<&'static str> {
        NAMED.iter().map(|(name, ..)| *name).collect()
    }

    /// The scenarios that have a name.
    pub fn named() -> Vec<Self> {
        let read = |(name, about, text): &(&str, &str, &str)| {
            let scenario = Self::from_text(text).expect("the text of a named scenario");
            Self { name: (*name).to_owned(), about: (*about).to_owned(), ..scenario }
        };
        NAMED.iter().map(read).collect()
    }
}
