//! SQL of statistics.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{SetStatistics, TenantStatistics, TenantTotals, Totals};
use crate::tenants::TenantId;

pub(super) async fn of_set(
    connection: &mut PgConnection,
    tenant: TenantId,
    set: Uuid,
) -> sqlx::Result<Option<SetStatistics>> {
    let row = sqlx::query!(
        r#"select c.quantity, c.available, c.reserved as "reserved!", c.assigned as "assigned!", c.sent as "sent!",
                  c.used as "used!", c.released as "released!", c.void as "void!", c.expired as "expired!",
                  c.withdrawn as "withdrawn!"
             from coupon_sets s
             join coupon_set_counters c on c.tenant_id = s.tenant_id and c.set_no = s.set_no
            where s.tenant_id = $1 and s.id = $2 and s.deleted_at is null"#,
        tenant as TenantId,
        set
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| SetStatistics {
        coupon_set_id: set,
        totals: Totals {
            quantity: row.quantity,
            available: row.available,
            reserved: row.reserved,
            assigned: row.assigned,
            sent: row.sent,
            used: row.used,
            released: row.released,
            void: row.void,
            expired: row.expired,
            withdrawn: row.withdrawn,
        },
    }))
}

pub(super) async fn of_tenant(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> sqlx::Result<TenantStatistics> {
    let row = sqlx::query!(
        r#"select count(*) filter (where s.deleted_at is null) as "coupon_sets!",
                  coalesce(sum(c.quantity) filter (where s.deleted_at is null), 0)::bigint as "quantity!",
                  coalesce(sum(c.available) filter (where s.deleted_at is null), 0)::bigint as "available!",
                  coalesce(sum(c.reserved), 0)::bigint as "reserved!",
                  coalesce(sum(c.assigned), 0)::bigint as "assigned!",
                  coalesce(sum(c.sent), 0)::bigint as "sent!",
                  coalesce(sum(c.used), 0)::bigint as "used!",
                  coalesce(sum(c.released), 0)::bigint as "released!",
                  coalesce(sum(c.void), 0)::bigint as "void!",
                  coalesce(sum(c.expired), 0)::bigint as "expired!",
                  coalesce(sum(c.withdrawn), 0)::bigint as "withdrawn!"
             from coupon_sets s
             join coupon_set_counters c on c.tenant_id = s.tenant_id and c.set_no = s.set_no
            where s.tenant_id = $1"#,
        tenant as TenantId
    )
    .fetch_one(connection)
    .await?;
    Ok(TenantStatistics {
        coupon_sets: row.coupon_sets,
        totals: TenantTotals {
            quantity: row.quantity,
            available: row.available,
            reserved: row.reserved,
            assigned: row.assigned,
            sent: row.sent,
            used: row.used,
            released: row.released,
            void: row.void,
            expired: row.expired,
            withdrawn: row.withdrawn,
        },
    })
}
