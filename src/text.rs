//! Text rules shared by several features.

/// Maximum length of a code in characters.
pub(crate) const MAX_CODE_CHARS: usize = 255;

/// Returns the text in lower case, for comparisons that ignore case.
pub(crate) fn fold(text: &str) -> String {
    text.to_lowercase()
}
