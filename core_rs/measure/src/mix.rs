//! What a thread does: classes of operations, and how often each.

use std::fmt;
use std::str::FromStr;

use crate::error::MeasureError;

/// A class of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A guest's access, and whatever fault the table makes of it.
    Fault,
    /// `kvm_age_gfn` on a range.
    Age,
    /// Write-protection of a range, as dirty logging does it.
    Wrprotect,
    /// A notifier's unmap of a range.
    Unmap,
    /// Eager splitting of a range's blocks.
    Split,
}

impl Class {
    /// Every class, in the canonical order.
    pub const ALL: [Self; 5] = [Self::Fault, Self::Age, Self::Wrprotect, Self::Unmap, Self::Split];

    /// Its name in a mix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Age => "age",
            Self::Wrprotect => "wrprotect",
            Self::Unmap => "unmap",
            Self::Split => "split",
        }
    }
}

/// Weights of the classes.
///
/// ```
/// let mix: measure::Mix = "age=5 fault=90 wrprotect=5".parse()?;
/// assert_eq!(mix.to_string(), "fault=18 age=1 wrprotect=1");
/// assert_eq!("age=7".parse::<measure::Mix>()?.to_string(), "age");
/// # Ok::<(), measure::MeasureError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    weights: [u32; 5],
}

impl Mix {
    /// One class alone.
    pub const fn only(class: Class) -> Self {
        let mut weights = [0; 5];
        weights[class as usize] = 1;
        Self { weights }
    }

    /// The weight of a class; those of a mix have no common divisor.
    pub const fn weight(&self, class: Class) -> u32 {
        self.weights[class as usize]
    }

    /// Whether the class occurs.
    pub const fn has(&self, class: Class) -> bool {
        self.weight(class) > 0
    }

    /// Whether a class that works on ranges occurs.
    pub fn has_ranges(&self) -> bool {
        Class::ALL[1..].iter().any(|&class| self.has(class))
    }

    /// The class that is alone, if one is.
    pub fn alone(&self) -> Option<Class> {
        let mut present = Class::ALL.into_iter().filter(|&class| self.has(class));
        present.next().filter(|_| present.next().is_none())
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self::only(Class::Fault)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(class) = self.alone() {
            return f.write_str(class.name());
        }
        let mut between = "";
        for class in Class::ALL.into_iter().filter(|&class| self.has(class)) {
            write!(f, "{between}{}={}", class.name(), self.weight(class))?;
            between = " ";
        }
        Ok(())
    }
}

impl FromStr for Mix {
    type Err = MeasureError;

    fn from_str(text: &str) -> Result<Self, MeasureError> {
        let wrong = |reason: String| MeasureError::Mix { value: text.into(), reason };
        let mut weights = [0_u32; 5];
        for part in text.split_whitespace() {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let class = Class::ALL.into_iter().find(|class| class.name() == name).ok_or_else(|| {
                wrong(format!("{name:?} is not one of {}", Class::ALL.map(Class::name).join(", ")))
            })?;
            let weight =
                weight.parse().ok().filter(|weight| (1..=1_000_000).contains(weight)).ok_or_else(|| {
                    wrong(format!("the weight {weight:?} is not a number from 1 to 1000000"))
                })?;
            let place = &mut weights[class as usize];
            if *place > 0 {
                return Err(wrong(format!("{name} is there twice, once would be right")));
            }
            *place = weight;
        }
        let divisor = weights.into_iter().fold(0, greatest_common_divisor);
        if divisor == 0 {
            return Err(wrong("it names no class, \"fault\" or \"fault=90 age=10\" would be right".into()));
        }
        Ok(Self { weights: weights.map(|weight| weight / divisor) })
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
