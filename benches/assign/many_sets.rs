//! Many sets of many tenants, each with few requests, compared with the textbook statement on as many sets.

use std::path::Path;
use std::process::Command;

use futures_util::future::try_join_all;
use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::support::http::Head;
use crate::support::load::{Items, Outcome, TimeRange, Work};
use crate::support::service::Service;
use crate::support::{Result, scatter};

/// Tenants, and sets of each.
const TENANTS: u64 = 20;
const SETS: u64 = 50;
/// Number of all sets.
pub const MANY_SETS: u64 = TENANTS * SETS;

/// Creates the tenants and their sets, and fills each set. Returns requests to the sets in random order.
pub async fn create(service: &Service, operator_token: &str, codes: u64) -> Result<Work> {
    let shops = (0..TENANTS).map(|_| async move {
        let service = Service::open(service.address, operator_token).await?;
        let sets = service.create_sets(SETS, codes).await?;
        Result::Ok(Work::assign(&service.key, &sets).heads)
    });
    let mut heads: Vec<(u64, Head)> = (0..)
        .map(scatter)
        .zip(try_join_all(shops).await?.into_iter().flatten())
        .collect();
    heads.sort_unstable_by_key(|(place, _)| *place);
    Ok(Work {
        heads: heads.into_iter().map(|(_, head)| head).collect(),
        items: Items::One,
        status: 201,
        // The sets hold the same codes.
        codes: false,
    })
}

/// Creates the table of the textbook statement with as many sets.
pub async fn create_textbook(connection: &mut PgConnection, codes: u64) -> Result<()> {
    let create = format!(
        "drop table if exists coupons;
         create table coupons (
           id          bigint generated always as identity primary key,
           set_id      integer not null,
           code        text not null,
           status      text not null default 'available',
           contact     text,
           assigned_at timestamptz
         );
         insert into coupons (set_id, code)
         select s, md5(s || '-' || c) from generate_series(1, {MANY_SETS}) s, generate_series(1, {codes}) c;
         create index coupons_available_idx on coupons (set_id, id) where status = 'available'"
    );
    connection.execute(sqlx::AssertSqlSafe(create)).await?;
    Ok(())
}

/// Runs the textbook statement on random sets with pgbench. Returns `None` where pgbench is not installed.
pub fn run_textbook(
    options: &PgConnectOptions,
    folder: &Path,
    connections: usize,
    span: TimeRange,
) -> Result<Option<Outcome>> {
    std::fs::create_dir_all(folder)?;
    let script = folder.join("textbook.sql");
    std::fs::write(
        &script,
        format!(
            "\\set s random(1, {MANY_SETS})
             update coupons set status = 'assigned', contact = 'contact-:s', assigned_at = now()
              where id = (select id from coupons where set_id = :s and status = 'available'
                           order by id for update skip locked limit 1)
             returning code;
"
        ),
    )?;
    let Some(socket) = options.get_socket() else {
        return Err("the benchmark's PostgreSQL has a socket".into());
    };
    let programs = ["pgbench", "/usr/lib/postgresql/15/bin/pgbench"];
    let output = programs.iter().find_map(|program| {
        Command::new(program)
            .args(["-n", "-M", "simple", "-j", "2"])
            .args(["-c", &connections.to_string()])
            .args(["-T", &span.measured.as_secs().max(1).to_string()])
            .arg("-h")
            .arg(socket)
            .args(["-p", &options.get_port().to_string()])
            .args(["-U", options.get_username()])
            .arg("-f")
            .arg(&script)
            .arg(options.get_database().unwrap_or("postgres"))
            .output()
            .ok()
    });
    let Some(output) = output else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figure = |name: &str, after: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(after)
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    let (Some(rate), Some(latency)) = (figure("tps = ", ""), figure("latency average = ", ""))
    else {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("pgbench printed no figures: {text}{errors}").into());
    };
    Ok(Some(Outcome {
        rate,
        // pgbench prints the average.
        p50: latency / 1000.0,
        p99: f64::NAN,
        cpu: [0.0; 3],
    }))
}
