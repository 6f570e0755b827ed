//! Scenarios as text: what the heading of [the module](super) shows, written and read.
//!
//! Guarantee: what is written reads as the same scenario.

use std::fmt;
use std::str::FromStr;

use stage2::WalkerKind;

use super::{Cache, Scenario, SetUp, Shape, Task};
use crate::error::{Error, closest, name_of, one_of, pair};
use crate::heap::Memory;

const CACHES: [(&str, Cache); 3] =
    [("never", Cache::Never), ("filled", Cache::Filled), ("used-up", Cache::UsedUp)];
const SHAPES: [(&str, Shape); 3] = [("small", Shape::Small), ("deep", Shape::Deep), ("big", Shape::Big)];
const MEMORIES: [(&str, Memory); 2] = [("kmalloc", Memory::Kmalloc), ("vmalloc", Memory::Vmalloc)];
const WALKERS: [(&str, WalkerKind); 2] = [("upstream", WalkerKind::Upstream), ("fast", WalkerKind::Fast)];
const YES_NO: [(&str, bool); 2] = [("yes", true), ("no", false)];

/// A shape, as a set-up names it.
pub(super) fn shape_name(shape: Shape) -> &'static str {
    name_of(&SHAPES, shape)
}

impl fmt::Display for SetUp {
    /// What differs from the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = Self::default();
        f.write_str("setup")?;
        let mut word = |differs: bool, key: &str, value: &str| {
            if differs { write!(f, " {key}={value}") } else { Ok(()) }
        };
        word(self.cache != default.cache, "cache", name_of(&CACHES, self.cache))?;
        word(self.objects != default.objects, "objects", &self.objects.to_string())?;
        word(self.nested != default.nested, "nested", &self.nested.to_string())?;
        word(self.arrays != default.arrays, "arrays", name_of(&MEMORIES, self.arrays))?;
        word(self.pages != default.pages, "pages", &self.pages.to_string())?;
        word(self.slots != default.slots, "slots", &self.slots.to_string())?;
        word(self.slot != default.slot, "slot", name_of(&YES_NO, self.slot))?;
        word(self.mapped != default.mapped, "mapped", name_of(&YES_NO, self.mapped))?;
        word(self.block != default.block, "block", name_of(&YES_NO, self.block))?;
        word(self.shape != default.shape, "shape", name_of(&SHAPES, self.shape))?;
        word(self.walker != default.walker, "walker", name_of(&WALKERS, self.walker))
    }
}

impl FromStr for SetUp {
    type Err = Error;

    /// Reads `KEY=VALUE` words, with or without `setup` before them.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut set_up = Self::default();
        for word in text.split_whitespace().skip_while(|word| *word == "setup") {
            let (key, value) = pair(word, "set-up")?;
            let number = |what| {
                value.parse::<u64>().map_err(|_| Error::Word {
                    what,
                    value: value.to_owned(),
                    expected: String::from("the numbers from 0 up"),
                })
            };
            match key {
                "cache" => set_up.cache = one_of("cache", &CACHES, value)?,
                "objects" => set_up.objects = number("objects")?,
                "nested" => set_up.nested = number("nested")?,
                "arrays" => set_up.arrays = one_of("arrays", &MEMORIES, value)?,
                "pages" => set_up.pages = number("pages")?,
                "slots" => set_up.slots = number("slots")?,
                "slot" => set_up.slot = one_of("slot", &YES_NO, value)?,
                "mapped" => set_up.mapped = one_of("mapped", &YES_NO, value)?,
                "block" => set_up.block = one_of("block", &YES_NO, value)?,
                "walker" => set_up.walker = one_of("walker", &WALKERS, value)?,
                "shape" => set_up.shape = one_of("shape", &SHAPES, value)?,
                _ => {
                    return Err(Error::Word {
                        what: "key of the set-up",
                        value: key.to_owned(),
                        expected: String::from(
                            "cache, objects, nested, arrays, pages, slots, slot, mapped, block, shape, walker",
                        ),
                    });
                }
            }
        }
        set_up.check()?;
        Ok(set_up)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.name)?;
        if self.mm != self.name {
            write!(f, " mm={}", self.mm)?;
        }
        if self.files != self.name {
            write!(f, " files={}", self.files)?;
        }
        if !self.fds.is_empty() {
            write!(f, " fds={}", joined(&self.fds, ","))?;
        }
        write!(f, ": {}", joined(&self.steps, ", "))
    }
}

impl FromStr for Task {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim().strip_prefix("task ").unwrap_or(text);
        // The first colon after a space or a name; those of descriptors follow a digit.
        let colon = text
            .char_indices()
            .find(|(at, c)| *c == ':' && text[at + 1..].chars().next().is_none_or(char::is_whitespace))
            .map(|(at, _)| at);
        let (head, steps) = colon.map_or((text, ""), |at| (&text[..at], &text[at + 1..]));
        let mut words = head.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let mut task =
            Self { mm: name.clone(), files: name.clone(), name, fds: Vec::new(), steps: Vec::new() };
        for word in words {
            match pair(word, "property of a task")? {
                ("mm", other) => other.clone_into(&mut task.mm),
                ("files", other) => other.clone_into(&mut task.files),
                ("fds", fds) => task.fds = fds.split(',').map(str::parse).collect::<Result<_, _>>()?,
                (key, _) => {
                    return Err(Error::Word {
                        what: "property of a task",
                        value: key.to_owned(),
                        expected: String::from("mm, files, fds"),
                    });
                }
            }
        }
        let steps = steps.split(',').map(str::trim).filter(|step| !step.is_empty());
        task.steps = steps.map(str::parse).collect::<Result<_, _>>()?;
        Ok(task)
    }
}

impl fmt::Display for Scenario {
    /// The text form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.set_up)?;
        self.tasks.iter().try_for_each(|task| write!(f, "\n{task}"))
    }
}

impl FromStr for Scenario {
    type Err = Error;

    /// Reads a name, or the text form.
    ///
    /// ```
    /// use kvm::Scenario;
    /// let race: Scenario = "setup cache=filled\ntask T1: exit\ntask T2 fds=vm: close vm".parse()?;
    /// assert_eq!(race.to_string().parse::<Scenario>()?.tasks, race.tasks);
    /// assert_eq!("flush-race".parse::<Scenario>()?.name, "flush-race");
    /// # Ok::<(), kvm::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, Error> {
        let named = Self::named();
        match named.iter().find(|scenario| scenario.name == text.trim()) {
            Some(scenario) => Ok(scenario.clone()),
            None => Self::from_text(text),
        }
    }
}

impl Scenario {
    /// Reads the text form.
    pub(crate) fn from_text(text: &str) -> Result<Self, Error> {
        let known = |line: &str| line.starts_with("setup") || line.starts_with("task ");
        let lines = || {
            text.split(['\n', ';']).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
        };
        if !lines().any(known) {
            let names = Self::names();
            let closest = closest(text.trim(), &names);
            return Err(Error::Scenario { value: text.to_owned(), count: names.len(), closest });
        }
        let mut set_up = SetUp::default();
        let mut tasks = Vec::new();
        for (at, line) in lines().enumerate() {
            let at_line = |error: Error| Error::Line { line: at + 1, what: error.to_string() };
            if line.starts_with("setup") {
                set_up = line.parse().map_err(at_line)?;
            } else if line.starts_with("task ") {
                tasks.push(line.parse().map_err(at_line)?);
            } else {
                let what = format!("{line:?} begins with neither `setup` nor `task`");
                return Err(Error::Line { line: at + 1, what });
            }
        }
        let mut scenario = Self { name: String::new(), about: String::new(), set_up, tasks };
        scenario.check()?;
        scenario.name = scenario.to_string().replace('\n', "; ");
        Ok(scenario)
    }
}

fn joined<T: fmt::Display>(list: &[T], between: &str) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}
