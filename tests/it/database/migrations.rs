//! The rules for migrations after the first release: they only add, and they lock no table that grows for long.

use couponry::database::MIGRATIONS;

/// The last migration before the first release.
const LAST_UNBOUND: i64 = 17;

/// What takes something from replicas of the last release. A migration that does so for a release that is long gone gets an exception
/// here, and raises `MIN_RELEASE`.
const DROPS: [&str; 12] = [
    "drop function",
    "drop table",
    "drop column",
    "drop constraint",
    "drop index",
    "drop policy",
    "drop trigger",
    "drop type",
    "rename ",
    "revoke ",
    "alter column",
    // Functions of the last release build values of the type.
    "add attribute",
];

/// Tables without many rows, which an index may lock for a moment.
const SMALL_TABLES: [&str; 3] = ["tenants", "api_keys", "webhooks"];

/// Returns what a migration must not do.
fn faults(text: &str) -> Vec<String> {
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect();
    let code = code.join(" ").to_lowercase();
    let mut faults: Vec<String> = DROPS
        .iter()
        .filter(|drop| code.contains(*drop))
        .map(|drop| format!("`{drop}` takes from replicas of the last release what they use"))
        .collect();
    let indexes = ["create index ", "create unique index "];
    for index in indexes.iter().flat_map(|create| code.split(create).skip(1)) {
        let table = index
            .split(" on ")
            .nth(1)
            .and_then(|rest| rest.split([' ', '(']).next());
        let is_new = table.is_some_and(|table| code.contains(&format!("create table {table} ")));
        let is_small = table.is_some_and(|table| SMALL_TABLES.contains(&table));
        if !is_new && !is_small && !index.starts_with("concurrently ") {
            faults.push(format!(
                "create the index concurrently: {}",
                &index[..index.len().min(60)]
            ));
        }
    }
    let is_concurrent = code.contains(" concurrently ");
    if is_concurrent && !text.starts_with("-- no-transaction") {
        faults.push("`concurrently` needs `-- no-transaction` in the first line".to_owned());
    }
    faults
}

#[test]
fn migrations_only_add_and_create_indexes_of_existing_tables_concurrently() {
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version > LAST_UNBOUND)
    {
        let faults = faults(migration.sql.as_str());
        assert!(faults.is_empty(), "{}: {faults:#?}", migration.version);
    }
    let refused = [
        "drop function assign_batch",
        "alter table assignments drop column reason",
        "alter table assignments rename to deals",
        "drop policy tenant_rows on assignments",
        "revoke insert on assignments from couponry_app",
        "create index a on assignments (set_no)",
        "create unique index a on assignments (set_no)",
        "create index concurrently a on assignments (set_no)",
    ];
    for text in refused {
        assert_eq!(faults(text).len(), 1, "{text}: {:?}", faults(text));
    }
    let accepted = [
        "-- drop function old\ncreate table notes (id integer);\ncreate index notes_idx on notes (id)",
        "-- no-transaction\ncreate index concurrently if not exists a on assignments (set_no)",
        "alter table assignments add column later integer",
        "create index tenants_later_idx on tenants (later)",
    ];
    for text in accepted {
        assert_eq!(faults(text), Vec::<String>::new(), "{text}");
    }
}
