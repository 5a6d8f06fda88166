//! Files of functions and views: one object per file, with the same text as in the database.

use std::collections::BTreeMap;
use std::path::Path;

use couponry::database::functions::{self, FILES, File};
use couponry::database::{MigrateError, migrate};
use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgPool};

use crate::support::database::TestDatabase;
use crate::support::sql;

/// Maximum length of a function; longer ones are split into phases.
const MAX_LINES: usize = 120;

/// Definitions of all functions and views, by name, without those that only migrations use.
const DEFINITIONS: &str = "
    select p.proname || E'\\n' || pg_get_functiondef(p.oid) || coalesce((
             select string_agg(pg_get_triggerdef(t.oid), E'\\n' order by t.tgrelid::regclass::text, t.tgname)
               from pg_trigger t
              where t.tgfoid = p.oid), '')
      from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.proname <> 'protect_tenant_rows'
     union all
    select c.relname || E'\\n' || pg_get_viewdef(c.oid) || coalesce(c.reloptions::text, '') || coalesce(c.relacl::text, '')
      from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('v', 'm')";

async fn definitions(connection: &mut PgConnection) -> BTreeMap<String, String> {
    let found = sql::column::<String>(connection, DEFINITIONS).await;
    let count = found.len();
    let definitions: BTreeMap<_, _> = found
        .into_iter()
        .map(|found| {
            let (name, definition) = found.split_once('\n').expect("two parts");
            (name.to_owned(), definition.to_owned())
        })
        .collect();
    assert_eq!(definitions.len(), count, "a name has two definitions");
    definitions
}

fn name(file: &File) -> &'static str {
    let stem = Path::new(file.path)
        .file_stem()
        .and_then(|stem| stem.to_str());
    stem.expect("a name in ASCII")
}

fn is_view(file: &File) -> bool {
    file.text.contains("\ncreate or replace view ")
        || file.text.starts_with("create or replace view ")
}

async fn connection(owner: &PgPool) -> sqlx::pool::PoolConnection<sqlx::Postgres> {
    owner.acquire().await.expect("a connection")
}

#[tokio::test]
async fn each_function_and_view_has_one_file_that_makes_it() {
    let database = TestDatabase::create().await;
    let mut owner = connection(&database.owner).await;
    let before = definitions(&mut owner).await;
    let mut without_file = before.clone();
    for file in FILES {
        let name = name(file);
        without_file.remove(name);
        let created = file.text.lines().filter(|line| {
            line.starts_with("create or replace function ")
                || line.starts_with("create or replace view ")
        });
        assert_eq!(created.count(), 1, "{} holds one object", file.path);
        let kind = if is_view(file) { "view" } else { "function" };
        let mut transaction = owner.begin().await.expect("a transaction");
        // Drop the present object first, so that only this text can have created the compared one.
        if kind == "function" {
            let gone = format!("alter function {name} rename to {name}_before");
            sql::run(&mut transaction, gone).await.expect("it is there");
        }
        sql::run(&mut transaction, "set local check_function_bodies = off")
            .await
            .expect("a setting");
        sql::run(&mut transaction, file.text)
            .await
            .expect(file.path);
        let made = sql::column::<String>(&mut transaction, DEFINITIONS).await;
        let made = made
            .iter()
            .filter_map(|made| made.split_once('\n'))
            .find(|(made, _)| *made == name);
        assert_eq!(
            made.map(|(_, made)| made),
            before.get(name).map(String::as_str),
            "{}",
            file.path
        );
        transaction.rollback().await.expect("a rollback");
    }
    assert!(
        without_file.is_empty(),
        "without a file: {:?}",
        without_file.keys()
    );
    assert_eq!(
        FILES.len(),
        before.len(),
        "each file makes an object of its own name"
    );
}

#[test]
fn no_function_is_longer_than_a_reader_can_follow() {
    let longer: Vec<_> = FILES
        .iter()
        .filter(|file| file.text.lines().count() > MAX_LINES)
        .map(|file| file.path)
        .collect();
    assert!(
        longer.is_empty(),
        "longer than {MAX_LINES} lines: {longer:?}"
    );
}

/// Replaces a function's text, as another release would have it, and records that release.
async fn replace(owner: &mut PgConnection, release: &str) {
    let other = "create or replace function event_id() returns uuid language sql
                 return '00000000-0000-0000-0000-000000000000'::uuid";
    sql::run(owner, other).await.expect("another text");
    let applied = format!(
        "update applied_functions set checksum = decode(repeat('00', 32), 'hex'), release = '{release}'"
    );
    sql::run(owner, applied).await.expect("another release");
}

async fn is_replaced(owner: &mut PgConnection) -> bool {
    sql::value(
        owner,
        "select event_id() = '00000000-0000-0000-0000-000000000000'",
    )
    .await
}

#[tokio::test]
async fn functions_of_an_earlier_release_are_replaced_at_the_start() {
    let database = TestDatabase::create().await;
    let mut owner = connection(&database.owner).await;
    replace(&mut owner, "{0,0,9}").await;
    assert!(is_replaced(&mut owner).await);
    migrate(&database.options).await.expect("it migrates");
    assert!(!is_replaced(&mut owner).await);
    let checksum: Vec<u8> = sql::value(&mut owner, "select checksum from applied_functions").await;
    assert_eq!(checksum, functions::checksum());
}

#[tokio::test]
async fn functions_of_a_later_release_are_left_alone() {
    let database = TestDatabase::create().await;
    let mut owner = connection(&database.owner).await;
    replace(&mut owner, "{999,0,0}").await;
    migrate(&database.options).await.expect("it migrates");
    assert!(is_replaced(&mut owner).await);
}

#[tokio::test]
async fn nothing_is_applied_where_the_same_texts_were_applied_before() {
    let database = TestDatabase::create().await;
    let mut owner = connection(&database.owner).await;
    let applied_at = "select applied_at::text from applied_functions";
    let before: String = sql::value(&mut owner, applied_at).await;
    migrate(&database.options).await.expect("it migrates");
    assert_eq!(sql::value::<String>(&mut owner, applied_at).await, before);
}

#[tokio::test]
async fn a_database_from_before_the_first_release_is_refused_with_one_clear_line() {
    let database = TestDatabase::create().await;
    let mut owner = connection(&database.owner).await;
    sql::run(&mut owner, "drop table applied_functions")
        .await
        .expect("it is there");
    let error = migrate(&database.options).await.expect_err("it is refused");
    assert!(matches!(error, MigrateError::BeforeFirstRelease));
    assert_eq!(
        error.to_string(),
        "the database was made by a version before the first release, which cannot be upgraded: export its data with that \
         version and import it into a new database"
    );
}

/// Their callers have no transaction that could turn it off, and compiling a statement takes longer than running it.
#[tokio::test]
async fn functions_that_enter_a_tenant_themselves_turn_the_compiler_off() {
    let database = TestDatabase::create().await;
    let mut owner = database.owner.acquire().await.unwrap();
    let entering = "select p.proname::text, coalesce(p.proconfig, '{}') @> '{jit=off}'
                      from pg_proc p
                     where p.pronamespace = 'public'::regnamespace and p.prosrc like '%perform enter_tenant(%'";
    let count = format!("select count(*) from ({entering}) f");
    assert!(sql::value::<i64>(&mut owner, count).await > 0);
    let without = format!(
        "select f.proname from ({entering}) f (proname, is_off) where not f.is_off order by 1"
    );
    assert_eq!(sql::column::<String>(&mut owner, without).await, [""; 0]);
}
