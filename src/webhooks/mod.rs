//! Webhooks send the events of a tenant to its endpoints, each event at least once.
//!
//! Events wait in `webhook_deliveries`. A transaction that inserts deliveries also sets the webhook's `next_due_at`. It
//! does so without a condition, so that the row of the webhook is locked. `sender` claims the endpoints that are due and
//! makes attempts side by side, keeping the order of `delivery_no` where one is promised. `client` makes one attempt, `message`
//! renders its body, and `sign` signs it. `cleaner` deletes deliveries that ended long ago.

mod cleaner;
mod client;
mod db;
pub(crate) mod declared;
mod deliveries;
mod http;
mod message;
mod queue;
mod secret;
mod sender;
mod sign;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::background::Tasks;
use crate::config::Config;
use crate::database::{Database, locks};
use crate::http::error::{Error, TOO_MANY_WEBHOOKS};
use crate::http::extract::{FieldValue, Fields, FromFields, integer, present, text};
use crate::http::routes::Routes;
use crate::http::state::feature_state;
use crate::http::trace_parent::Trace;
use crate::ids::TenantId;
use crate::outbound::Outbound;
use crate::tenants::auth::Auth;
use crate::text_enum::text_enum;
use client::{Attempt, WebhookClient};
use deliveries::{Delivery, DeliveryFilter};
use message::Message;
use secret::Secret;

feature_state! {
    /// The state of the webhook routes and of the sender.
    Webhooks { auth: Auth, database: Database, client: WebhookClient, concurrency: usize, retention_days: u16, }
}

impl Webhooks {
    pub(crate) fn new(auth: &Auth, database: &Database, config: &Config) -> Self {
        let authorities = config.ca_file.clone().unwrap_or_default();
        let private = config.webhook_private;
        let outbound = Outbound::new(&authorities, private, private);
        Self(Arc::new(Parts {
            auth: auth.clone(),
            database: database.clone(),
            client: WebhookClient::new(outbound, private),
            concurrency: usize::from(config.webhook_concurrency),
            retention_days: config.retention_deliveries_days,
        }))
    }
}

pub(crate) fn routes(state: Webhooks) -> Routes {
    http::routes().with_state(state)
}

pub(crate) fn spawn(state: &Webhooks, tasks: &Tasks) {
    tasks.spawn(sender::work(state, tasks));
    let days = i32::from(state.retention_days);
    tasks.spawn(cleaner::work(state.database.clone(), days, tasks.clone()));
}

/// Every type of event that an endpoint can subscribe to.
const EVENT_TYPES: [&str; 5] = [
    "coupon-set.exhausted",
    "coupon-set.low-stock",
    "coupon-set.refilled",
    "coupon.assigned",
    "import.finished",
];

/// Maximum number of webhooks of a tenant.
const MAX_WEBHOOKS: usize = 20;
/// Hours during which a replaced secret also signs.
const OVERLAP_HOURS: i32 = 24;
/// Maximum number of deliveries that one request replays.
const MAX_REPLAYED: i64 = 100_000;

/// An endpoint as the API returns it, without its secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    id: Uuid,
    url: String,
    event_types: Vec<String>,
    description: Option<String>,
    /// The maximum number of events of a message.
    max_batch: i32,
    state: WebhookState,
    /// Time of the first failure since the last success.
    failing_since: Option<DateTime<Utc>>,
    /// End of the time during which the previous secret also signs.
    previous_secret_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(skip)]
    number: i32,
}

/// A webhook with its new secret, which no later response contains.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuedWebhook {
    #[serde(flatten)]
    webhook: Webhook,
    secret: String,
}

/// The result of a test call.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TestResult {
    /// The `webhook-id` of the message.
    id: Uuid,
    delivered: bool,
    #[serde(flatten)]
    attempt: Attempt,
}

/// The result of a replay of many deliveries.
#[derive(Debug, Serialize)]
struct ReplayResult {
    replayed: u64,
}

/// A string that `WebhookClient::check` has yet to accept as a URL.
struct UrlText(String);

impl FieldValue for UrlText {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(Self(text)),
            _ => Err("This must be a string.".to_owned()),
        }
    }
}

struct EventTypes(Vec<String>);

impl FieldValue for EventTypes {
    fn from_value(value: Value) -> Result<Self, String> {
        let known = |kind: &Value| {
            let kind = kind.as_str().filter(|kind| EVENT_TYPES.contains(kind))?;
            Some(kind.to_owned())
        };
        let kinds: Option<Vec<String>> = value
            .as_array()
            .filter(|kinds| !kinds.is_empty())
            .and_then(|kinds| kinds.iter().map(known).collect());
        let mut kinds = kinds.ok_or_else(|| {
            format!(
                "This must be a list of event types. The event types are: {}.",
                EVENT_TYPES.join(", ")
            )
        })?;
        kinds.sort_unstable();
        kinds.dedup();
        Ok(Self(kinds))
    }
}

/// 1 to 500 characters.
struct Description(String);

impl FieldValue for Description {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, 500).map(Self)
    }
}

/// 1 to 100.
struct MaxBatch(i32);

impl FieldValue for MaxBatch {
    fn from_value(value: Value) -> Result<Self, String> {
        let max_batch = integer(&value, 1, message::MAX_BATCH)?;
        Ok(Self(
            i32::try_from(max_batch).expect("the range was checked"),
        ))
    }
}

text_enum! {
    /// The state of a webhook that is not deleted.
    enum WebhookState {
        Enabled = "enabled",
        Disabled = "disabled",
        /// Disabled because it failed for too long.
        Failed = "failed",
    }
}

text_enum! {
    /// The states that a caller may set.
    enum NewState {
        Enabled = "enabled",
        Disabled = "disabled",
    }
}

/// The fields of a webhook that a request sets. Absent ones stay as they are.
#[derive(Debug)]
#[expect(
    clippy::option_option,
    reason = "absent, null and a value are three things in a patch"
)]
struct WebhookPatch {
    url: Option<String>,
    event_types: Option<Vec<String>>,
    description: Option<Option<String>>,
    max_batch: Option<i32>,
    state: Option<NewState>,
}

/// The fields of a new webhook, with all required ones present.
#[derive(Debug)]
struct NewWebhook(WebhookPatch);

impl FromFields for NewWebhook {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let url: Option<UrlText> = fields.required("url");
        let event_types: Option<EventTypes> = fields.required("eventTypes");
        let description: Option<Description> = fields.optional("description");
        let max_batch: Option<MaxBatch> = fields.optional("maxBatch");
        Some(Self(WebhookPatch {
            url: Some(url?.0),
            event_types: Some(event_types?.0),
            description: description.map(|description| Some(description.0)),
            max_batch: max_batch.map(|max_batch| max_batch.0),
            state: None,
        }))
    }
}

impl FromFields for WebhookPatch {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let url: Option<UrlText> = present(fields, "url");
        let event_types: Option<EventTypes> = present(fields, "eventTypes");
        let description: Option<Option<Description>> = fields.nullable("description");
        let max_batch: Option<MaxBatch> = present(fields, "maxBatch");
        let state = present(fields, "state");
        Some(Self {
            url: url.map(|url| url.0),
            event_types: event_types.map(|kinds| kinds.0),
            description: description.map(|text| text.map(|text| text.0)),
            max_batch: max_batch.map(|max_batch| max_batch.0),
            state,
        })
    }
}

impl WebhookPatch {
    fn check(&self, client: &WebhookClient) -> Result<(), Error> {
        match self.url.as_deref().map(|url| client.check(url)) {
            Some(Err(detail)) => Err(Error::invalid("/url", detail)),
            _ => Ok(()),
        }
    }
}

fn not_found() -> Error {
    Error::not_found("webhook")
}

async fn read(connection: &mut PgConnection, tenant: TenantId, id: Uuid) -> Result<Webhook, Error> {
    db::find(connection, tenant, id)
        .await?
        .ok_or_else(not_found)
}

async fn create(
    webhooks: &Webhooks,
    tenant: TenantId,
    new: NewWebhook,
) -> Result<IssuedWebhook, Error> {
    new.0.check(&webhooks.client)?;
    let (id, secret) = (Uuid::now_v7(), Secret::new());
    let mut transaction = webhooks.database.tenant(tenant).await?;
    locks::lock_webhooks(&mut transaction, tenant).await?;
    if db::count(&mut transaction, tenant).await? >= MAX_WEBHOOKS {
        return Err(Error::refused(
            &TOO_MANY_WEBHOOKS,
            format!(
                "The tenant already has the maximum of {MAX_WEBHOOKS} webhooks. Delete or change one of them."
            ),
        ));
    }
    db::create(&mut transaction, tenant, id, &new.0, &secret).await?;
    let webhook = read(&mut transaction, tenant, id).await?;
    transaction.commit().await?;
    Ok(IssuedWebhook {
        webhook,
        secret: secret.shown(),
    })
}

/// Changes a webhook. Deliveries that wait while it is disabled are sent when it is enabled again.
async fn patch(
    webhooks: &Webhooks,
    tenant: TenantId,
    id: Uuid,
    patch: WebhookPatch,
) -> Result<Webhook, Error> {
    patch.check(&webhooks.client)?;
    let mut transaction = webhooks.database.tenant(tenant).await?;
    let webhook_no = db::lock(&mut transaction, tenant, id)
        .await?
        .ok_or_else(not_found)?;
    db::patch(&mut transaction, tenant, webhook_no, &patch).await?;
    let webhook = read(&mut transaction, tenant, id).await?;
    transaction.commit().await?;
    Ok(webhook)
}

async fn rotate_secret(
    webhooks: &Webhooks,
    tenant: TenantId,
    id: Uuid,
) -> Result<IssuedWebhook, Error> {
    let secret = Secret::new();
    let mut transaction = webhooks.database.tenant(tenant).await?;
    db::rotate(&mut transaction, tenant, id, &secret, OVERLAP_HOURS).await?;
    let webhook = read(&mut transaction, tenant, id).await?;
    transaction.commit().await?;
    Ok(IssuedWebhook {
        webhook,
        secret: secret.shown(),
    })
}

/// Sends a test message, also to a disabled or failed webhook, and returns the result of the attempt.
async fn test(
    webhooks: &Webhooks,
    tenant: TenantId,
    id: Uuid,
    trace: Trace,
) -> Result<TestResult, Error> {
    let mut transaction = webhooks.database.tenant(tenant).await?;
    let endpoint = db::find_endpoint(&mut transaction, tenant, id).await?;
    transaction.commit().await?;
    let endpoint = endpoint.ok_or_else(not_found)?;
    let message = Message::test(id, endpoint.max_batch);
    let message_id = message.id;
    let attempt = webhooks.client.attempt(&endpoint, message, trace).await;
    Ok(TestResult {
        id: message_id,
        delivered: attempt.is_success(),
        attempt,
    })
}

async fn replay(
    webhooks: &Webhooks,
    tenant: TenantId,
    webhook: Uuid,
    delivery: Uuid,
) -> Result<Delivery, Error> {
    let no_delivery = || Error::not_found("delivery");
    let mut transaction = webhooks.database.tenant(tenant).await?;
    let webhook_no = db::lock(&mut transaction, tenant, webhook)
        .await?
        .ok_or_else(not_found)?;
    if !deliveries::replay(&mut transaction, tenant, webhook_no, delivery).await? {
        return Err(no_delivery());
    }
    deliveries::make_due(&mut transaction, tenant, webhook_no).await?;
    let delivery = deliveries::find(&mut transaction, tenant, webhook_no, delivery)
        .await?
        .ok_or_else(no_delivery)?;
    transaction.commit().await?;
    Ok(delivery)
}

async fn replay_all(
    webhooks: &Webhooks,
    tenant: TenantId,
    webhook: Uuid,
    filter: DeliveryFilter<'_>,
) -> Result<ReplayResult, Error> {
    let mut transaction = webhooks.database.tenant(tenant).await?;
    // Under this lock no sender stores results, so the count below holds until the commit.
    let webhook_no = db::lock(&mut transaction, tenant, webhook)
        .await?
        .ok_or_else(not_found)?;
    let limit = MAX_REPLAYED + 1;
    let count = deliveries::count(&mut transaction, tenant, webhook_no, filter, limit).await?;
    if count > MAX_REPLAYED {
        let detail =
            format!("The period has more than {MAX_REPLAYED} deliveries. Choose a shorter one.");
        return Err(Error::invalid("to", detail));
    }
    let replayed = deliveries::replay_all(&mut transaction, tenant, webhook_no, filter).await?;
    deliveries::make_due(&mut transaction, tenant, webhook_no).await?;
    transaction.commit().await?;
    Ok(ReplayResult { replayed })
}
