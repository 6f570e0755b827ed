//! Why nothing was measured, or not all of it.

use stage2::ConfigError;

/// Why nothing was measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// The text of a point is not JSON, or not an object.
    #[error("a point is not a JSON object of fields: {0}")]
    Json(String),
    /// A name that no field has.
    #[error("{0} is no field of a point: {fields} are", fields = crate::Point::FIELDS.join(", "))]
    Field(String),
    /// A value of another type.
    #[error("{what} {value} is not {right}")]
    Type {
        /// Which field.
        what: &'static str,
        /// What was given, as JSON.
        value: String,
        /// What would be right.
        right: &'static str,
    },
    /// A name that is not one of the known ones.
    #[error("{what} {value:?} is not one of {}", known.join(", "))]
    Name {
        /// Which field.
        what: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        known: &'static [&'static str],
    },
    /// A number outside what is possible.
    #[error("{what} {value} is not {right}")]
    Number {
        /// Which field.
        what: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        right: String,
    },
    /// A mix that says nothing.
    #[error("mix {value:?}: {reason}")]
    Mix {
        /// What was given.
        value: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// A field that this point needs.
    #[error("{what} is missing: {why}")]
    Missing {
        /// Which field.
        what: &'static str,
        /// Why it is needed.
        why: &'static str,
    },
    /// Fields that do not go together.
    #[error("{0}")]
    Together(String),
    /// The life cycle cannot be as asked.
    #[error(transparent)]
    LifeCycle(kvm::Error),
    /// The table cannot be as asked.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The table ran out of its reserve of pages.
    #[error("guest_bytes {guest_bytes} needs more table pages than one table may have")]
    OutOfPages {
        /// The guest's size.
        guest_bytes: u64,
    },
    /// The caller asked to stop.
    #[error("stopped before the measurement was over")]
    Cancelled,
}

impl From<kvm::Error> for MeasureError {
    fn from(error: kvm::Error) -> Self {
        match error {
            kvm::Error::OutOfPages { guest_bytes } => Self::OutOfPages { guest_bytes },
            error => Self::LifeCycle(error),
        }
    }
}

impl MeasureError {
    /// A [`MeasureError::Number`].
    pub(crate) fn number(
        what: &'static str,
        value: impl std::fmt::Display,
        right: impl Into<String>,
    ) -> Self {
        Self::Number { what, value: value.to_string(), right: right.into() }
    }
}
