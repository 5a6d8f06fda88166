//! The outbox turns ledger entries into webhook deliveries: exactly one per event and endpoint.
//!
//! The log of assignments is the outbox, so a request for a code pays nothing. A reader follows the ledger of each set; its
//! cursor and the deliveries move in one transaction. It reads the sets that this replica has marked within a moment, and
//! those that a replica wrote to which has gone since within seconds.

mod db;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::ids::{SetKey, TenantId};
use crate::statistics::{Forecast, forecasts};

/// Numbers of a ledger that one transaction reads.
const BATCH_SIZE: i32 = 1000;
/// Sets that one replica reads at a time.
const READERS: usize = 2;
/// Time between two looks for events beside the ledgers.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two looks for sets that nobody has marked.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);
/// Time that an alert waits for its forecast.
const FORECAST_LIMIT: Duration = Duration::from_secs(2);

/// The subject of its log lines.
const FAILURE: &str = "reading events failed";

pub(crate) fn spawn(database: &Database, dirty_sets: &DirtySets, tasks: &Tasks) {
    tasks.spawn(read(database.clone(), dirty_sets.clone(), tasks.clone()));
    tasks.spawn(look(database.clone(), dirty_sets.clone(), tasks.clone()));
}

async fn read(database: Database, dirty_sets: DirtySets, tasks: Tasks) {
    loop {
        let sets = tokio::select! {
            sets = dirty_sets.gather() => sets,
            () = tasks.shutdown.cancelled() => return,
        };
        // Failures other than lock contention are retried by the next sweep.
        match db::heard(database.system(), sets).await {
            Ok(sets) => {
                stream::iter(sets)
                    .for_each_concurrent(READERS, async |set| {
                        // One batch, so that a set with many events does not delay the others.
                        match tell(&database, set).await {
                            Ok(true) => dirty_sets.mark(set),
                            Ok(false) => {}
                            Err(error) => {
                                log_failure(FAILURE, &error);
                                if is_lock_timeout(&error) {
                                    dirty_sets.mark(set);
                                }
                            }
                        }
                    })
                    .await;
            }
            Err(error) => log_failure(FAILURE, &error),
        }
    }
}

async fn look(database: Database, dirty_sets: DirtySets, tasks: Tasks) {
    let mut swept: Option<Instant> = None;
    tasks
        .every(POLL_INTERVAL, || {
            let is_due = swept.is_none_or(|swept| swept.elapsed() > SWEEP_INTERVAL);
            if is_due {
                swept = Some(Instant::now());
            }
            mark_sets(&database, &dirty_sets, is_due)
        })
        .await;
}

/// Marks the sets with events beside their ledgers and, if a sweep is due, those that nobody has marked.
async fn mark_sets(database: &Database, dirty_sets: &DirtySets, sweep_is_due: bool) -> StepOutcome {
    match db::waiting(database.system()).await {
        Ok(sets) => sets.into_iter().for_each(|set| dirty_sets.mark(set)),
        Err(error) => log_failure(FAILURE, &error),
    }
    if sweep_is_due && let Err(error) = sweep(database, dirty_sets).await {
        log_failure(FAILURE, &error);
    }
    StepOutcome::Done
}

/// Marks the sets with events that were not read: those that a replica left which has gone, and those whose stock fell
/// without an entry in the ledger, as when codes expire.
async fn sweep(database: &Database, dirty_sets: &DirtySets) -> sqlx::Result<()> {
    for tenant in db::hearing(database.system()).await? {
        // A tenant that cannot be read now must not delay the others.
        match behind(database, tenant).await {
            Ok(set_nos) => {
                for set_no in set_nos {
                    dirty_sets.mark(SetKey { tenant, set_no });
                }
            }
            Err(error) => log_failure(FAILURE, &error),
        }
    }
    Ok(())
}

async fn behind(database: &Database, tenant: TenantId) -> sqlx::Result<Vec<i32>> {
    database
        .with_tenant(tenant, async |connection| {
            db::behind(connection, tenant).await
        })
        .await
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    let is_one = |code: &str| matches!(code, "55P03" | "40P01");
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref().is_some_and(is_one))
}

/// Tells a portion of a set's ledger, and how low its stock is. Answers whether there may be more.
async fn tell(database: &Database, set: SetKey) -> sqlx::Result<bool> {
    let mut transaction = database.task(set.tenant).await?;
    let mut told = db::publish_ledger(&mut transaction, set, BATCH_SIZE).await?;
    if let Some(mut alert) = told.alert() {
        alert.forecast = forecast(database, set).await;
        let webhook_nos = db::tell_alert(&mut transaction, set, &alert).await?;
        told.webhook_nos.extend(webhook_nos);
    }
    if !told.webhook_nos.is_empty() {
        db::wake(&mut transaction, set.tenant, &told.webhook_nos).await?;
    }
    transaction.commit().await?;
    Ok(told.more)
}

/// On a connection of its own: an alert without a forecast is better than none, and better than one that comes late.
async fn forecast(database: &Database, set: SetKey) -> Option<Forecast> {
    let find = async {
        let mut transaction = database.tenant(set.tenant).await?;
        let found = forecasts(&mut transaction, set.tenant, &[set.set_no]).await?;
        transaction.commit().await?;
        sqlx::Result::Ok(found.get(&set.set_no).copied())
    };
    match timeout(FORECAST_LIMIT, find).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            log_failure(FAILURE, &error);
            None
        }
        Err(_) => None,
    }
}

/// A step of the stock that was passed on its way down.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    #[serde(skip)]
    number: i64,
    coupon_set_id: Uuid,
    /// None when nothing is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    available: i64,
    threshold: Option<i32>,
    forecast: Option<Forecast>,
}

impl Alert {
    fn event_type(&self) -> &'static str {
        if self.step.is_some() {
            "coupon-set.low-stock"
        } else {
            "coupon-set.exhausted"
        }
    }
}
