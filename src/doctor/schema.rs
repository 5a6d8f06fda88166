//! Faults of the roles, the tables and the functions.

use sqlx::migrate::Migrate;
use sqlx::{Connection, PgConnection};

use super::Finding;
use super::db::{self, Server};
use crate::database::{MIGRATIONS, functions};

/// The table in which `sqlx` records the migrations.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";
/// Roles that the service takes for its transactions.
const TAKEN_ROLES: [&str; 2] = ["couponry_app", "couponry_system"];

/// Checks that the roles exist and that the login can take those that it must.
pub(super) async fn roles(
    connection: &mut PgConnection,
    server: &Server,
) -> sqlx::Result<Vec<Finding>> {
    const CHECK: &str = "roles";
    const WHY: &str = "The service does not start, or each request fails.";
    let login = &server.login;
    let mut findings = Vec::new();
    let missing = db::missing_roles(connection).await?;
    for role in &missing {
        findings.push(Finding::fault(
            CHECK,
            format!("The role {role} does not exist."),
            WHY,
            format!("Run as an administrator: create role {role} noinherit nobypassrls; then: couponry migrate"),
        ));
    }
    for role in TAKEN_ROLES {
        if missing.iter().any(|missing| missing == role) {
            continue;
        }
        // By trying: a membership alone does not allow it since PostgreSQL 16.
        let mut step = connection.begin().await?;
        let taken = db::take_role(&mut step, role).await;
        step.rollback().await?;
        if taken.is_err() {
            findings.push(Finding::fault(
                CHECK,
                format!("The user {login} cannot take the role {role}."),
                WHY,
                format!("Run as an administrator: grant {role} to {login};"),
            ));
        }
    }
    if db::may_assign(connection).await? == Some(false) {
        findings.push(Finding::fault(
            CHECK,
            format!("The user {login} cannot execute the function assign_plain."),
            "Assignments fail.",
            format!("grant execute on function assign_plain to {login};"),
        ));
    }
    Ok(findings)
}

/// Compares the applied migrations with those of this program.
pub(super) async fn migrations(
    connection: &mut PgConnection,
    server: &Server,
) -> sqlx::Result<Vec<Finding>> {
    const CHECK: &str = "migrations";
    let behind = |what: String| {
        let why = "The program reads and writes tables that the database does not have.";
        vec![Finding::fault(CHECK, what, why, "couponry migrate")]
    };
    match db::may_read(connection, MIGRATIONS_TABLE).await? {
        None => return Ok(behind("The database has no tables of Couponry.".to_owned())),
        Some(false) => return Ok(vec![unreadable(CHECK, MIGRATIONS_TABLE, server)]),
        Some(true) => {}
    }
    let applied = connection
        .list_applied_migrations(MIGRATIONS_TABLE)
        .await
        .map_err(|error| sqlx::Error::AnyDriverError(Box::new(error)))?;
    let mut findings = Vec::new();
    let missing = MIGRATIONS
        .iter()
        .filter(|own| applied.iter().all(|applied| applied.version != own.version));
    let missing: Vec<String> = missing.map(|own| own.version.to_string()).collect();
    if !missing.is_empty() {
        findings.extend(behind(format!(
            "The database lacks the migrations {}.",
            missing.join(", ")
        )));
    }
    let is_changed = |own: &sqlx::migrate::Migration| {
        let found = applied
            .iter()
            .find(|applied| applied.version == own.version);
        found.is_some_and(|applied| applied.checksum != own.checksum)
    };
    if let Some(changed) = MIGRATIONS.iter().find(|own| is_changed(own)) {
        findings.push(Finding::fault(
            CHECK,
            format!("The migration {} of the database has another text.", changed.version),
            "The tables may differ from those that the program expects, and it does not migrate them.",
            "Use the program that made the database, or restore a backup.",
        ));
    }
    let newest = MIGRATIONS.iter().map(|own| own.version).max();
    let unknown = applied
        .iter()
        .find(|applied| Some(applied.version) > newest);
    if let Some(unknown) = unknown {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "The database has the migration {} of a newer version.",
                unknown.version
            ),
            "This program is older than the database.",
            "Install the newer version here too.",
        ));
    }
    Ok(findings)
}

/// Compares the functions in the database with those of this program.
pub(super) async fn functions(
    connection: &mut PgConnection,
    server: &Server,
) -> sqlx::Result<Option<Finding>> {
    const CHECK: &str = "functions";
    const TABLE: &str = "applied_functions";
    match db::may_read(connection, TABLE).await? {
        // Its migration is missing, which is reported.
        None => return Ok(None),
        Some(false) => return Ok(Some(unreadable(CHECK, TABLE, server))),
        Some(true) => {}
    }
    let own = functions::release();
    Ok(match db::applied_functions(connection).await? {
        Some(applied) if applied.release > own => Some(Finding::warning(
            CHECK,
            format!(
                "The functions of the database are those of release {:?}.",
                applied.release
            ),
            "This program is older. It works if that release supports it.",
            "Install the newer version here too.",
        )),
        Some(applied) if applied.checksum == functions::checksum() => None,
        _ => Some(Finding::fault(
            CHECK,
            "The functions of the database are not those of this version.",
            "Assignments may follow rules of another version, or fail.",
            "couponry migrate",
        )),
    })
}

fn unreadable(check: &'static str, table: &str, server: &Server) -> Finding {
    let login = &server.login;
    Finding::warning(
        check,
        format!("The user {login} cannot read {table}."),
        "It is not known whether the database is that of this version.",
        format!("grant select on {table} to {login};"),
    )
}

/// Checks that each table with rows of tenants separates them.
pub(super) async fn row_security(connection: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    let unprotected = db::unprotected_tables(connection).await?;
    let finding = |table: db::UnprotectedTable| {
        let name = &table.name;
        let (what, fix) = if !table.is_enabled {
            let what = format!("Row level security is disabled on {name}.");
            (
                what,
                format!("alter table {name} enable row level security;"),
            )
        } else if !table.is_forced {
            let what = format!("Row level security does not bind the owner of {name}.");
            (
                what,
                format!("alter table {name} force row level security;"),
            )
        } else {
            let what = format!("{name} has not exactly the policy tenant_rows for couponry_app.");
            let fix = format!(
                "Drop the policies of {name} for couponry_app and public, then: select protect_tenant_rows('{name}');"
            );
            (what, fix)
        };
        let why = "A statement that forgets its tenant would reach the rows of all tenants.";
        Finding::fault("row-security", what, why, fix)
    };
    Ok(unprotected.into_iter().map(finding).collect())
}
