//! Faults of the data: gaps in ledgers, and work that nothing does.

use sqlx::{Connection, PgConnection};

use super::{APP_ROLE, Finding, SYSTEM_ROLE, db};

/// Checks, for a random sample of sets, that the last numbers of the ledger are dense.
pub(super) async fn ledgers(connection: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    let mut step = connection.begin().await?;
    db::take_role(&mut step, SYSTEM_ROLE).await?;
    let tenants = db::sample_tenants(&mut step).await?;
    step.rollback().await?;
    let mut findings = Vec::new();
    for tenant in tenants {
        let mut step = connection.begin().await?;
        db::take_role(&mut step, APP_ROLE).await?;
        db::enter_tenant(&mut step, tenant.number).await?;
        let gaps = db::ledger_gaps(&mut step, tenant.number).await?;
        step.rollback().await?;
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
pub(super) async fn background_work(connection: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    let mut step = connection.begin().await?;
    db::take_role(&mut step, SYSTEM_ROLE).await?;
    let overdue = db::overdue_work(&mut step).await?;
    step.rollback().await?;
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
