//! Faults of the data: gaps in ledgers, and work that nothing does.

use super::Finding;
use super::db;
use crate::database::Database;

/// Examines the data as the roles of the service.
pub(super) async fn examine(database: &Database) -> sqlx::Result<Vec<Finding>> {
    let mut findings = ledgers(database).await?;
    findings.extend(background_work(database).await?);
    Ok(findings)
}

/// Checks, for a random sample of sets, that the last numbers of the ledger are dense.
async fn ledgers(database: &Database) -> sqlx::Result<Vec<Finding>> {
    let tenants = database.with_system(db::sample_tenants).await?;
    let mut findings = Vec::new();
    for tenant in tenants {
        let gaps = database
            .with_tenant(tenant.number, async |connection| {
                db::ledger_gaps(connection, tenant.number).await
            })
            .await?;
        for gap in gaps {
            let (tenant, set) = (tenant.id, gap.set_id);
            findings.push(Finding::fault(
                "ledger",
                format!(
                    "The ledger of the coupon set {set} of the tenant {tenant} has gaps: {} of the last {} entries are missing.",
                    gap.expected - gap.found,
                    gap.expected
                ),
                "Rows were deleted or a restore was incomplete. Counters are wrong, and a code may be assigned twice.",
                "Suspend the tenant with `couponry tenant suspend`, and restore the rows from a backup.",
            ));
        }
    }
    Ok(findings)
}

/// Checks that background work is done in time.
async fn background_work(database: &Database) -> sqlx::Result<Vec<Finding>> {
    let overdue = database.with_system(db::overdue_work).await?;
    let works = [
        (
            overdue.reservations,
            "reservations ended more than 10 minutes ago and still hold their codes",
        ),
        (
            overdue.imports,
            "imports have waited for more than an hour, or have stopped",
        ),
        (
            overdue.webhooks,
            "webhooks have been due for more than 10 minutes",
        ),
        (
            overdue.erasures,
            "contacts have waited for more than an hour to be erased from all texts",
        ),
    ];
    let late = works.into_iter().filter(|(count, _)| *count > 0);
    let finding = |(count, what): (i64, &str)| {
        Finding::fault(
            "background-work",
            format!("{count} {what}."),
            "No replica runs, or its tasks fail.",
            "Start a replica, and read its log for warnings.",
        )
    };
    Ok(late.map(finding).collect())
}
