//! The links of the documentation lead to files and headings that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::properties::readme::{read, root};

/// Every page of documentation, by its path in the repository.
pub fn pages() -> Vec<String> {
    let book = ["docs", "docs/operate"].into_iter().flat_map(|folder| {
        let files = fs::read_dir(root().join(folder)).expect("the book is there");
        let names = files.map(|file| file.expect("an entry").file_name());
        let names = names.map(|name| name.into_string().expect("text"));
        names
            .filter(|name| Path::new(name).extension().is_some_and(|end| end == "md"))
            .map(move |name| format!("{folder}/{name}"))
    });
    let others = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
    ];
    others.map(str::to_owned).into_iter().chain(book).collect()
}

/// The lines of a text outside code blocks.
fn prose(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            lines.push(line);
        }
    }
    assert!(!in_code, "a block of code has no end");
    lines
}

/// The links of a page to files and headings of the repository.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text).join("\n");
    let targets = prose.split("](").skip(1);
    targets
        .map(|link| link.split(')').next().expect("a text has a beginning"))
        .filter(|target| !target.contains("://"))
        .map(str::to_owned)
        .collect()
}

/// The anchors of a page's headings, as both GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            // The built book contains no files from outside its folder.
            let leaves = if page.starts_with("docs/operate/") {
                file.starts_with("../..")
            } else {
                page.starts_with("docs/") && file.starts_with("..")
            };
            assert!(!leaves, "{page} links out of the book: {link}");
            let target = if file.is_empty() {
                root().join(&page)
            } else {
                let folder = Path::new(&page).parent().expect("a page is a file");
                root().join(folder).join(file)
            };
            assert!(target.exists(), "{page} has a dead link: {link}");
            if !anchor.is_empty() {
                let target = fs::read_to_string(target).expect("a page");
                let anchors = anchors(&target);
                assert!(anchors.contains(anchor), "{page}: no heading for {link}");
            }
        }
    }
}

#[test]
fn the_summary_lists_every_page_of_the_book() {
    let listed: BTreeSet<String> = links(&read("docs/SUMMARY.md")).into_iter().collect();
    let pages = pages();
    let pages = pages.iter().filter_map(|page| page.strip_prefix("docs/"));
    let pages = pages.filter(|page| *page != "SUMMARY.md");
    assert_eq!(listed, pages.map(str::to_owned).collect());
}
