//! The textbook solution: a table of codes with a status, and `for update skip locked`.
//!
//! It is given every advantage: no HTTP, no idempotency key, no log, prepared statements, and no indexes except the
//! primary key and the one that the statement needs.

use std::time::Instant;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor};
use tokio::task::JoinSet;

use crate::support::cpu::Cpu;
use crate::support::load::{Outcome, TimeRange, percentile};
use crate::support::{Result, float};

const CREATE: &str = "
    drop table if exists coupons;
    create table coupons (
      id          bigint generated always as identity primary key,
      set_id      integer not null,
      code        text not null,
      status      text not null default 'available',
      contact     text,
      assigned_at timestamptz
    );
    insert into coupons (set_id, code) select 1, md5(g::text) from generate_series(1, {rows}) g;
    create index coupons_available_idx on coupons (set_id, id) where status = 'available'";

pub const CLAIM: &str = "
    update coupons set status = 'assigned', contact = $1, assigned_at = now()
     where id = (select id from coupons where set_id = $2 and status = 'available'
                  order by id for update skip locked limit 1)
    returning code";

/// The minimum that any durable assignment must do: one row in one commit.
pub const INSERT: &str =
    "insert into coupons (contact, set_id, code) values ($1, $2, 'X') returning code";

/// Creates the table, replacing an earlier one.
pub async fn create(connection: &mut PgConnection, rows: u64) -> Result<()> {
    let create = CREATE.replace("{rows}", &rows.to_string());
    connection.execute(sqlx::AssertSqlSafe(create)).await?;
    Ok(())
}

pub async fn drop_table(connection: &mut PgConnection) -> Result<()> {
    connection.execute("drop table coupons").await?;
    Ok(())
}

/// Runs a statement on many connections, each in a closed loop.
pub async fn run(
    options: &PgConnectOptions,
    postmaster: u32,
    statement: &'static str,
    connections: usize,
    span: TimeRange,
) -> Result<Outcome> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(PgConnection::connect_with(options).await?);
    }
    let start = Instant::now() + span.warm_up;
    let end = start + span.measured;
    let mut running = JoinSet::new();
    for (client, mut connection) in open.into_iter().enumerate() {
        running.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let sent = Instant::now();
                if sent >= end {
                    connection.close().await?;
                    return Result::Ok(latencies);
                }
                #[expect(
                    clippy::disallowed_methods,
                    reason = "its table is none of the service's, so no macro can check it"
                )]
                let claim = sqlx::query_scalar::<_, String>(statement)
                    .bind(format!("contact-{client}-{}", latencies.len()))
                    .bind(1_i32);
                claim.fetch_one(&mut connection).await?;
                let answered = Instant::now();
                if answered >= start && answered < end {
                    latencies.push(answered - sent);
                }
            }
        });
    }
    tokio::time::sleep_until(start.into()).await;
    let before = Cpu::read(postmaster);
    tokio::time::sleep_until(end.into()).await;
    let cpu = Cpu::read(postmaster).since(before);
    let mut latencies = Vec::new();
    while let Some(seen) = running.join_next().await {
        latencies.extend(seen??);
    }
    latencies.sort_unstable();
    let items = float(latencies.len() as u64);
    Ok(Outcome {
        rate: items / span.measured.as_secs_f64(),
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
        cpu: [cpu.driver, cpu.service, cpu.postgresql].map(|time| time.as_secs_f64() / items),
    })
}
