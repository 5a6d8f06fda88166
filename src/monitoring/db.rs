//! SQL of the metrics.

use sqlx::PgConnection;

use crate::metrics::Backlog;

/// Reads what waits in the database, of all tenants. Each part reads a partial index of the rows that wait, or stops at a
/// limit, so the cost does not depend on what is stored.
pub(super) async fn read_backlog(connection: &mut PgConnection) -> sqlx::Result<Backlog> {
    sqlx::query_as!(
        Backlog,
        r#"select i.queued as "queued!", i.in_progress as "in_progress!",
                  extract(epoch from clock_timestamp() - i.waits_since)::double precision as import_oldest_queued_seconds,
                  extract(epoch from clock_timestamp() - w.due_since)::double precision as webhook_oldest_due_seconds,
                  extract(epoch from clock_timestamp() - w.failing_since)::double precision as webhook_failing_seconds,
                  r.overdue as "reservations_overdue!"
             from (
               select count(*) filter (where status = 'queued') as queued,
                      count(*) filter (where status = 'inProgress') as in_progress,
                      min(case
                            when status = 'queued' then created_at
                            when lease_until < clock_timestamp() then lease_until
                          end) as waits_since
                 from imports
                where status in ('queued', 'inProgress')
             ) i
            cross join (
               select min(d.next_due_at) filter (
                        where d.next_due_at <= now() and (d.lease_until is null or d.lease_until < now())) as due_since,
                      min(d.failing_since) as failing_since
                 from webhooks d
                 join tenants t on t.tenant_id = d.tenant_id
                where d.state = 'enabled' and d.next_due_at is not null and t.state = 'active'
             ) w
            cross join (
               select count(*) as overdue
                 from (
                   select
                     from reservations
                    where expires_at < now() - interval '10 seconds'
                    order by expires_at
                    limit 10000
                 ) late
             ) r"#
    )
    .fetch_one(connection)
    .await
}
