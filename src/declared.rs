//! The outcome of applying a declared resource, for `couponry apply`.

/// The difference between a declared resource and the stored one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Created,
    /// With the names of the fields that differed.
    Updated(Vec<&'static str>),
    Unchanged,
}

impl Outcome {
    /// `Updated` if any field differed.
    pub(crate) fn of(fields: Vec<&'static str>) -> Self {
        if fields.is_empty() {
            Self::Unchanged
        } else {
            Self::Updated(fields)
        }
    }
}
