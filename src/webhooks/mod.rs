//! Webhooks: endpoints of a tenant that are told what happens, each event at least once.
//!
//! Events wait in `webhook_deliveries`. Who writes them there moves the webhook's `next_due_at` forward in the same
//! transaction, without a condition, so that the row is locked; `sender` claims the endpoints that are due and makes the
//! first attempts of each set in the order of `delivery_no`. `client` makes one attempt, `sign` signs it, and `message`
//! renders what is told.

mod cleaner;
mod client;
mod db;
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
use crate::http::extract::{FieldValue, Fields, FromFields, present, text};
use crate::http::routes::Routes;
use crate::http::state::feature_state;
use crate::ids::TenantId;
use crate::outbound::Outbound;
use crate::tenants::auth::Auth;
use crate::text_enum::text_enum;
use client::{Attempt, WebhookClient};
use deliveries::{Delivery, Filter};
use secret::Secret;

feature_state! {
    /// What the routes and the sender of webhooks work with.
    Webhooks { auth: Auth, database: Database, client: WebhookClient, }
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
        }))
    }
}

pub(crate) fn routes(state: Webhooks) -> Routes {
    http::routes().with_state(state)
}

pub(crate) fn spawn(state: &Webhooks, tasks: &Tasks) {
    tasks.spawn(sender::work(state, tasks));
    tasks.spawn(cleaner::work(state.database.clone(), tasks.clone()));
}

/// Every type of event that can be told.
const EVENT_TYPES: [&str; 5] = [
    "coupon-set.exhausted",
    "coupon-set.low-stock",
    "coupon-set.refilled",
    "coupon.assigned",
    "import.finished",
];

/// Webhooks that a tenant may have.
const MAX_WEBHOOKS: i64 = 20;
/// How long a secret that was replaced goes on signing.
const OVERLAP_HOURS: i32 = 24;
/// Deliveries that are replayed at once.
const MAX_REPLAYED: i64 = 100_000;

/// An endpoint, as it is told: never with its secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    id: Uuid,
    url: String,
    event_types: Vec<String>,
    description: Option<String>,
    state: State,
    /// The first failure that no success has followed.
    failing_since: Option<DateTime<Utc>>,
    /// How long the secret before this one signs too.
    previous_secret_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(skip)]
    number: i32,
}

/// A webhook whose secret was just made; the only time that it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuedWebhook {
    #[serde(flatten)]
    webhook: Webhook,
    secret: String,
}

/// What came of a test call.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TestResult {
    /// The `webhook-id` of the message.
    id: Uuid,
    delivered: bool,
    #[serde(flatten)]
    attempt: Attempt,
}

/// How many deliveries are attempted again.
#[derive(Debug, Serialize)]
struct Replayed {
    replayed: u64,
}

/// Text that may be a URL; whether messages may go there is the client's to say.
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

text_enum! {
    /// The state of a webhook that is not deleted.
    enum State {
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

/// What a caller says of a webhook; only what is present is changed.
#[derive(Debug)]
#[expect(
    clippy::option_option,
    reason = "absent, null and a value are three things in a patch"
)]
struct Change {
    url: Option<String>,
    event_types: Option<Vec<String>>,
    description: Option<Option<String>>,
    state: Option<NewState>,
}

/// A webhook that is to be created, so with all that it needs.
#[derive(Debug)]
struct NewWebhook(Change);

impl FromFields for NewWebhook {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let url: Option<UrlText> = fields.required("url");
        let event_types: Option<EventTypes> = fields.required("eventTypes");
        let description: Option<Description> = fields.optional("description");
        Some(Self(Change {
            url: Some(url?.0),
            event_types: Some(event_types?.0),
            description: description.map(|description| Some(description.0)),
            state: None,
        }))
    }
}

impl FromFields for Change {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let url: Option<UrlText> = present(fields, "url");
        let event_types: Option<EventTypes> = present(fields, "eventTypes");
        let description: Option<Option<Description>> = fields.nullable("description");
        let state = present(fields, "state");
        Some(Self {
            url: url.map(|url| url.0),
            event_types: event_types.map(|kinds| kinds.0),
            description: description.map(|text| text.map(|text| text.0)),
            state,
        })
    }
}

impl Change {
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

/// What waits while a webhook is disabled goes on when it is enabled again.
async fn patch(
    webhooks: &Webhooks,
    tenant: TenantId,
    id: Uuid,
    change: Change,
) -> Result<Webhook, Error> {
    change.check(&webhooks.client)?;
    let mut transaction = webhooks.database.tenant(tenant).await?;
    let webhook_no = db::lock(&mut transaction, tenant, id)
        .await?
        .ok_or_else(not_found)?;
    db::change(&mut transaction, tenant, webhook_no, &change).await?;
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

/// Sends a message of its own, whatever the state of the webhook, and tells at once what came of it.
async fn test(webhooks: &Webhooks, tenant: TenantId, id: Uuid) -> Result<TestResult, Error> {
    let mut transaction = webhooks.database.tenant(tenant).await?;
    let endpoint = db::find_endpoint(&mut transaction, tenant, id).await?;
    transaction.commit().await?;
    let endpoint = endpoint.ok_or_else(not_found)?;
    let (event, body) = (Uuid::now_v7(), message::test(id));
    let attempt = webhooks.client.attempt(&endpoint, event, body).await;
    Ok(TestResult {
        id: event,
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
    filter: Filter<'_>,
) -> Result<Replayed, Error> {
    let mut transaction = webhooks.database.tenant(tenant).await?;
    // Nothing is attempted from here to the commit that was not before.
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
    Ok(Replayed { replayed })
}
