//! Rules for text that several features share.

/// Characters that a code may have at most.
pub(crate) const MAX_CODE_CHARS: usize = 255;

/// Text without regard to case, for comparison.
pub(crate) fn fold(text: &str) -> String {
    text.to_lowercase()
}
