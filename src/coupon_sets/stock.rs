//! How much is left of a set, and whether that lasts: a set that an active workflow uses and that runs out within a week
//! is low, whatever its threshold says.

use sqlx::PgConnection;

use super::CouponSet;
use crate::ids::TenantId;
use crate::text_enum::text_enum;
use crate::workflows::{self, User};

text_enum! {
    /// How much is left of a set; each is in exactly one of these states.
    pub(crate) enum Stock {
        Ok = "ok",
        Low = "low",
        Exhausted = "exhausted",
    }
}

/// Makes those sets low that run out soon. Their other states are known from their counters.
pub(super) async fn mark(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &mut [CouponSet],
) -> sqlx::Result<()> {
    let watched: Vec<i32> = sets
        .iter()
        .filter(|set| set.stock == Stock::Ok && set.available.is_some())
        .filter(|set| set.used_in_workflows.iter().any(User::is_active))
        .map(|set| set.set_no)
        .collect();
    let run_out = run_out(connection, tenant, watched).await?;
    for set in sets.iter_mut().filter(|set| run_out.contains(&set.set_no)) {
        set.stock = Stock::Low;
    }
    Ok(())
}

/// What a list must know beforehand that is narrowed by this: which sets of the tenant run out soon.
pub(super) async fn run_out_for(
    connection: &mut PgConnection,
    tenant: TenantId,
    stock: Option<Stock>,
) -> sqlx::Result<Vec<i32>> {
    match stock {
        Some(Stock::Ok | Stock::Low) => {
            let watched = workflows::list_active_sets(connection, tenant).await?;
            run_out(connection, tenant, watched).await
        }
        // Neither depends on what is to come.
        Some(Stock::Exhausted) | None => Ok(Vec::new()),
    }
}

/// Those of these sets that run out within a week, by the calendar of each.
async fn run_out(
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
