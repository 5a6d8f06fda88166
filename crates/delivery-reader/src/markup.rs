//! Recognizes documents that are no lists of codes, whatever their names: back offices export HTML tables as `.xls`, and
//! JSON lines as text. Read as rows, their tags would become codes.

use crate::DeliveryFault;

/// Beginnings of HTML, in lower case.
const HTML: [&[u8]; 8] = [
    b"<!doctype",
    b"<html",
    b"<head",
    b"<meta",
    b"<style",
    b"<body",
    b"<table",
    b"<div",
];

/// Fails if a text begins like HTML, XML or JSON.
pub(crate) fn check(sample: &[u8]) -> Result<(), DeliveryFault> {
    let start = sample.trim_ascii_start();
    let begins = |text: &[u8]| {
        start
            .get(..text.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(text))
    };
    let name = if HTML.iter().any(|text| begins(text)) {
        "an HTML page, whatever its name says"
    } else if begins(b"<?xml") {
        "an XML document, whatever its name says"
    } else if is_json(start) {
        "JSON; to import it, use the content type application/json and the form {\"codes\": […]}, or"
    } else {
        return Ok(());
    };
    Err(DeliveryFault::OtherFormat { name })
}

/// Returns true for an object, or an array of strings or objects.
fn is_json(start: &[u8]) -> bool {
    let next = |text: &[u8]| text.trim_ascii_start().first().copied();
    match start {
        [b'{', rest @ ..] => matches!(next(rest), Some(b'"' | b'}')),
        [b'[', rest @ ..] => matches!(next(rest), Some(b'"' | b'{')),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_recognized_by_their_beginning() {
        for text in [
            "<html><table><tr><td>A-1</td></tr></table></html>",
            "  \r\n<!DOCTYPE html>\n",
            "<TABLE border=1>",
            "<?xml version=\"1.0\"?><Workbook/>",
            "{\"code\":\"A-1\"}\n{\"code\":\"B-2\"}\n",
            "{}",
            "[ \"A-1\", \"B-2\" ]",
            "[\n  {\"code\": \"A-1\"}]",
        ] {
            assert!(check(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn codes_may_have_any_characters() {
        for text in [
            "",
            "A-1\nB-2",
            "<3LOVE",
            "<A-1>",
            "{A-1}",
            "[A-1]",
            "code\n<html>",
            "\"A-1\"",
        ] {
            assert!(check(text.as_bytes()).is_ok(), "{text}");
        }
    }
}
