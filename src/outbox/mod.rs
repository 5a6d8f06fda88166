//! The outbox turns ledger entries into webhook deliveries: exactly one per event and endpoint.
//!
//! The ledger of a coupon set is its outbox, so a request for a code writes nothing more. A reader follows each ledger,
//! and stores its cursor and the deliveries in one transaction. Sets that this replica has marked are read within a
//! fraction of a second. A sweep every 15 seconds finds the others, such as those written by a replica that crashed.

mod db;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::{Database, has_code};
use crate::dirty_sets::DirtySets;
use crate::ids::{SetKey, TenantId};
use crate::metrics;
use crate::statistics::{Forecast, forecasts};
use db::LaggingSet;

/// Ledger numbers that one transaction publishes.
const BATCH_SIZE: i32 = 1000;
/// Sets that one replica publishes in parallel.
const READERS: usize = 2;
/// Time between two searches for events beside the ledgers.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two searches for lagging sets that are not marked.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);
/// Time limit of the forecast in an alert.
const FORECAST_LIMIT: Duration = Duration::from_secs(2);

/// Log message of a failure.
const FAILURE: &str = "reading events failed";

pub(crate) fn spawn(database: &Database, dirty_sets: &DirtySets, tasks: &Tasks) {
    tasks.spawn(publish(database.clone(), dirty_sets.clone(), tasks.clone()));
    tasks.spawn(poll(database.clone(), dirty_sets.clone(), tasks.clone()));
}

/// Publishes the marked sets.
async fn publish(database: Database, dirty_sets: DirtySets, tasks: Tasks) {
    loop {
        let sets = tokio::select! {
            sets = dirty_sets.gather() => sets,
            () = tasks.shutdown.cancelled() => return,
        };
        // Failures other than lock contention are retried by the next sweep.
        let subscribed =
            database.with_system(async |connection| db::with_subscribers(connection, sets).await);
        match subscribed.await {
            Ok(sets) => {
                stream::iter(sets)
                    .for_each_concurrent(READERS, async |set| {
                        // One batch, so that a set with many events does not delay the others.
                        match publish_batch(&database, set).await {
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

/// Marks the sets that have something to publish, in regular rounds.
async fn poll(database: Database, dirty_sets: DirtySets, tasks: Tasks) {
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

/// Marks the sets with events beside their ledgers and, if a sweep is due, the lagging ones.
async fn mark_sets(database: &Database, dirty_sets: &DirtySets, sweep_is_due: bool) -> StepOutcome {
    match database.with_system(db::sets_with_events).await {
        Ok(sets) => sets.into_iter().for_each(|set| dirty_sets.mark(set)),
        Err(error) => log_failure(FAILURE, &error),
    }
    if sweep_is_due && let Err(error) = sweep(database, dirty_sets).await {
        log_failure(FAILURE, &error);
    }
    StepOutcome::Done
}

/// Marks the lagging sets: those that a crashed replica has written to, and those whose stock fell without a ledger
/// entry, such as by codes that expired.
async fn sweep(database: &Database, dirty_sets: &DirtySets) -> sqlx::Result<()> {
    let mut lag = 0;
    for tenant in database.with_system(db::subscribed_tenants).await? {
        // A tenant that cannot be read now must not delay the others.
        match lagging_sets(database, tenant).await {
            Ok(sets) => {
                for LaggingSet {
                    set_no,
                    lag: of_set,
                } in sets
                {
                    lag += of_set;
                    dirty_sets.mark(SetKey { tenant, set_no });
                }
            }
            Err(error) => log_failure(FAILURE, &error),
        }
    }
    metrics::outbox_lag(lag);
    Ok(())
}

async fn lagging_sets(database: &Database, tenant: TenantId) -> sqlx::Result<Vec<LaggingSet>> {
    let mut transaction = database.background(tenant).await?;
    let sets = db::lagging_sets(&mut transaction, tenant).await?;
    transaction.commit().await?;
    Ok(sets)
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    has_code(error, &["55P03", "40P01"])
}

/// Publishes a batch of a set's ledger, and an alert if its stock has become low. Returns true if there may be more.
async fn publish_batch(database: &Database, set: SetKey) -> sqlx::Result<bool> {
    let mut transaction = database.task(set.tenant).await?;
    let mut batch = db::publish_ledger(&mut transaction, set, BATCH_SIZE).await?;
    if let Some(mut alert) = batch.alert() {
        alert.forecast = forecast(database, set).await;
        let webhook_nos = db::publish_alert(&mut transaction, set, &alert).await?;
        batch.webhook_nos.extend(webhook_nos);
    }
    if !batch.webhook_nos.is_empty() {
        db::mark_due(&mut transaction, set.tenant, &batch.webhook_nos).await?;
    }
    transaction.commit().await?;
    Ok(batch.more)
}

/// Forecasts a set's end on a separate connection, within `FORECAST_LIMIT`. A failure must not prevent or delay the
/// alert.
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

/// The payload of a low-stock or exhausted event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    #[serde(skip)]
    number: i64,
    coupon_set_id: Uuid,
    /// The part of the threshold that the stock has fallen to; `None` if nothing is left.
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
