//! Layers of the source: a module imports only from lower layers, and no modules form a cycle.
//!
//! Read from the `use crate::…` lines and the other `crate::…` paths of `src`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The modules of the crate, from the lowest layer up. Modules of one layer may import each other, but not in a cycle.
const FLOORS: [&[&str]; 10] = [
    // Modules that know nothing of the service.
    &[
        "declared",
        "ids",
        "text",
        "text_enum",
        "time_zone",
        "telemetry",
        "traces",
    ],
    // The platform.
    &[
        "background",
        "batching",
        "config",
        "database",
        "dirty_sets",
        "load",
        "metrics",
        "outbound",
        "witness",
    ],
    &["http"],
    &["dashboard", "docs", "monitoring", "tenants"],
    &["statistics", "workflows"],
    &["coupon_sets", "outbox"],
    &["assignments", "imports"],
    &["contacts", "coupons", "webhooks"],
    &["app", "server"],
    &["admin", "cli", "doctor", "import_command", "start"],
];

/// Layers inside `assignments`, which is large enough to have its own.
const ROOMS: [&[&str]; 3] = [&["id"], &["assign", "list"], &["lifecycle"]];

/// A reference from one file to a module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    file: String,
    /// The path after `crate::`.
    path: Vec<String>,
}

/// Every path in the text that begins with `crate::`, including those in braces.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|before| before.is_alphanumeric() || before == '_') {
            continue;
        }
        expand(&text[at + "crate::".len()..], &[], &mut found);
    }
    found
}

/// Reads one path or a tree of paths in braces, and returns the rest of the text.
fn expand<'a>(text: &'a str, prefix: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = prefix.to_vec();
    let mut rest = text;
    loop {
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner.trim_start();
            while !rest.starts_with('}') && !rest.is_empty() {
                rest = expand(rest, &path, found).trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            }
            return rest.strip_prefix('}').unwrap_or(rest);
        }
        let is_name = |char: char| char.is_alphanumeric() || char == '_';
        let end = rest.find(|char| !is_name(char)).unwrap_or(rest.len());
        if end == 0 {
            // A glob, or anything else that is not a name.
            found.push(path);
            let end = rest.find([',', '}', ';']).unwrap_or(rest.len());
            return &rest[end..];
        }
        path.push(rest[..end].to_owned());
        rest = &rest[end..];
        let Some(further) = rest.strip_prefix("::") else {
            found.push(path);
            let renamed = rest.strip_prefix(" as ");
            return renamed.map_or(rest, |name| name.trim_start_matches(is_name));
        };
        rest = further;
    }
}

/// All imports of `src`, without those of tests and comments.
fn imports() -> Vec<Import> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let file = path.strip_prefix(&root).unwrap().display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let code: String = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default()
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default())
            .collect::<Vec<_>>()
            .join("\n");
        found.extend(paths(&code).into_iter().map(|path| Import {
            file: file.clone(),
            path,
        }));
    }
    assert!(found.len() > 300, "only {} imports", found.len());
    found
}

/// The module of a file: the first part of its path.
fn module(file: &str) -> &str {
    let first = file.split('/').next().unwrap();
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The names of all modules in a folder.
fn modules(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src")
        .join(folder);
    let names = std::fs::read_dir(folder).unwrap().map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        module(&name).to_owned()
    });
    let above = ["lib", "main", "mod", "sql"];
    names
        .filter(|name| !above.contains(&name.as_str()))
        .collect()
}

/// Imports that point to a higher layer, and cycles among the others.
fn violations(
    floors: &[&[&str]],
    edges: &BTreeMap<(String, String), BTreeSet<String>>,
) -> Vec<String> {
    let floor = |name: &str| floors.iter().position(|floor| floor.contains(&name));
    let mut violations: Vec<String> = edges
        .iter()
        .filter(|((from, to), _)| floor(from) < floor(to))
        .map(|((from, to), files)| format!("{from} imports {to}, which is above it: {files:?}"))
        .collect();
    // Remove modules that import none of the others. The rest is in a cycle, or imports one.
    let mut left: BTreeSet<&str> = floors.concat().into_iter().collect();
    let imports_one_of = |left: &BTreeSet<&str>, name: &str| {
        edges
            .keys()
            .any(|(from, to)| from == name && left.contains(to.as_str()))
    };
    while let Some(lowest) = left
        .iter()
        .copied()
        .find(|name| !imports_one_of(&left, name))
    {
        left.remove(lowest);
    }
    if !left.is_empty() {
        violations.push(format!("in a circle, or above one: {left:?}"));
    }
    violations
}

#[test]
fn a_module_imports_only_what_is_below_it() {
    let listed: BTreeSet<String> = FLOORS.concat().into_iter().map(str::to_owned).collect();
    assert_eq!(listed, modules(""), "the modules of `FLOORS` and of `src`");
    let mut edges: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for import in imports() {
        let (from, to) = (module(&import.file).to_owned(), import.path[0].clone());
        if from != to && listed.contains(&from) {
            edges.entry((from, to)).or_default().insert(import.file);
        }
    }
    let violations = violations(&FLOORS, &edges);
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn a_room_of_assignments_imports_only_what_is_below_it() {
    let listed: BTreeSet<String> = ROOMS.concat().into_iter().map(str::to_owned).collect();
    assert_eq!(listed, modules("assignments"));
    let mut edges: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for import in imports() {
        let room = |name: &str| listed.get(module(name)).cloned();
        let from = import.file.strip_prefix("assignments/").and_then(room);
        let to = match &import.path[..] {
            [feature, to, ..] if feature == "assignments" => room(to),
            _ => None,
        };
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            edges.entry((from, to)).or_default().insert(import.file);
        }
    }
    let violations = violations(&ROOMS, &edges);
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn statements_of_a_feature_are_called_by_that_feature_alone() {
    let foreign: BTreeSet<Import> = imports()
        .into_iter()
        .filter(|import| import.path.get(1).is_some_and(|name| name == "db"))
        .filter(|import| import.path[0] != module(&import.file))
        .collect();
    assert!(foreign.is_empty(), "{foreign:#?}");
}

#[test]
fn all_paths_of_a_tree_are_found() {
    let text = "use crate::{a::{b, c::d as e}, f};\ncrate::g::h(my_crate::no);\nuse crate::i::*;";
    let found: Vec<String> = paths(text).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["a::b", "a::c::d", "f", "g::h", "i"]);
}
