//! Stock levels of sets. A set that an active workflow uses and that runs out within a week is low, regardless of its
//! threshold.

use sqlx::PgConnection;

use super::CouponSet;
use crate::ids::TenantId;
use crate::text_enum::text_enum;
use crate::workflows::{self, WorkflowSummary};

text_enum! {
    /// Stock level of a set. A set has exactly one of these levels.
    pub(crate) enum Stock {
        Ok = "ok",
        Low = "low",
        Exhausted = "exhausted",
    }
}

/// Marks sets that run out soon as low. The database derives the other levels from the counters.
pub(super) async fn mark_low(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &mut [CouponSet],
) -> sqlx::Result<()> {
    let watched: Vec<i32> = sets
        .iter()
        .filter(|set| set.stock == Stock::Ok && set.available.is_some())
        .filter(|set| set.used_in_workflows.iter().any(WorkflowSummary::is_active))
        .map(|set| set.set_no)
        .collect();
    let run_out = list_run_out(connection, tenant, watched).await?;
    for set in sets.iter_mut().filter(|set| run_out.contains(&set.set_no)) {
        set.stock = Stock::Low;
    }
    Ok(())
}

/// Lists the sets of the tenant that run out soon, if a list filtered by this level depends on them.
pub(super) async fn list_run_out_for_filter(
    connection: &mut PgConnection,
    tenant: TenantId,
    stock: Option<Stock>,
) -> sqlx::Result<Vec<i32>> {
    match stock {
        Some(Stock::Ok | Stock::Low) => {
            let watched = workflows::list_active_sets(connection, tenant).await?;
            list_run_out(connection, tenant, watched).await
        }
        // Neither depends on the forecast.
        Some(Stock::Exhausted) | None => Ok(Vec::new()),
    }
}

/// Filters sets to those that run out within a week, in the time zone of each.
async fn list_run_out(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: Vec<i32>,
) -> sqlx::Result<Vec<i32>> {
    if set_nos.is_empty() {
        return Ok(set_nos);
    }
    let forecasts = crate::statistics::forecasts(connection, tenant, &set_nos).await?;
    let weeks = sqlx::query!(
        r#"select s.set_no, (now() at time zone s.timezone)::date + 7 as "ends_on!"
             from coupon_sets s
            where s.tenant_id = $1 and s.set_no = any ($2)"#,
        tenant as TenantId,
        &set_nos
    )
    .fetch_all(connection)
    .await?;
    let run_out = weeks.into_iter().filter(|week| {
        forecasts
            .get(&week.set_no)
            .is_some_and(|forecast| forecast.runs_out_on <= week.ends_on)
    });
    Ok(run_out.map(|week| week.set_no).collect())
}
