//! Faults of the roles, the tables and the functions.

use sqlx::migrate::Migrate;
use sqlx::{Connection, PgConnection};

use super::db::{self, Server};
use super::{APP_ROLE, Finding, SYSTEM_ROLE};
use crate::database::{MIGRATIONS, functions, is_undefined};

/// The table in which `sqlx` records the migrations.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";
/// Roles that the service takes for its transactions.
const TAKEN_ROLES: [&str; 2] = [APP_ROLE, SYSTEM_ROLE];

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
pub(super) async fn migrations(connection: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    const CHECK: &str = "migrations";
    let behind = |what: String| {
        let why = "The program reads and writes tables that the database does not have.";
        vec![Finding::fault(CHECK, what, why, "couponry migrate")]
    };
    match db::may_read(connection, MIGRATIONS_TABLE).await? {
        None => return Ok(behind("The database has no tables of Couponry.".to_owned())),
        // The number of the last one is known, and compared with the functions.
        Some(false) => return Ok(Vec::new()),
        Some(true) => {}
    }
    let applied = connection
        .list_applied_migrations(MIGRATIONS_TABLE)
        .await
        .map_err(|error| sqlx::Error::AnyDriverError(Box::new(error)))?;
    let find = |version: i64| applied.iter().find(|applied| applied.version == version);
    let mut findings = Vec::new();
    let missing = MIGRATIONS.iter().filter(|own| find(own.version).is_none());
    let missing: Vec<String> = missing.map(|own| own.version.to_string()).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        findings.extend(behind(format!(
            "The database lacks the migrations {missing}."
        )));
    }
    let is_changed = |own: &&sqlx::migrate::Migration| {
        find(own.version).is_some_and(|applied| applied.checksum != own.checksum)
    };
    if let Some(changed) = MIGRATIONS.iter().find(is_changed) {
        findings.push(Finding::fault(
            CHECK,
            format!("The migration {} of the database has another text.", changed.version),
            "The tables may differ from those that the program expects, and it does not migrate them.",
            "Use the program that made the database, or restore a backup.",
        ));
    }
    Ok(findings)
}

/// Compares the release that last migrated the database with this program.
pub(super) async fn release(connection: &mut PgConnection) -> sqlx::Result<Option<Finding>> {
    const CHECK: &str = "release";
    let own = functions::release();
    let mut step = connection.begin().await?;
    db::take_role(&mut step, SYSTEM_ROLE).await?;
    let applied = match db::applied_release(&mut step).await {
        // Before the migration that added the columns.
        Err(error) if is_undefined(&error) => None,
        applied => applied?,
    };
    step.rollback().await?;
    let is_current = applied.as_ref().is_some_and(|applied| {
        applied.migration >= functions::newest_migration()
            && (applied.release > own || applied.checksum == functions::checksum())
    });
    Ok(match applied {
        Some(applied) if applied.min_release > own => Some(Finding::fault(
            CHECK,
            format!(
                "The database was migrated by release {}, which works with release {} and later.",
                dotted(&applied.release),
                dotted(&applied.min_release)
            ),
            "This program does not start.",
            "Install a later release of this program.",
        )),
        Some(applied) if applied.release > own => Some(Finding::warning(
            CHECK,
            format!(
                "The database was migrated by release {}.",
                dotted(&applied.release)
            ),
            "This program is older. It works with this database, but lacks what the later release brings.",
            "Install the later release here too.",
        )),
        _ if is_current => None,
        _ => Some(Finding::fault(
            CHECK,
            "The tables or functions of the database are not those of this release.",
            "Assignments may follow rules of another release, or fail.",
            "couponry migrate",
        )),
    })
}

/// A release in its usual form.
fn dotted(release: &[i32]) -> String {
    let numbers: Vec<String> = release.iter().map(ToString::to_string).collect();
    numbers.join(".")
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
