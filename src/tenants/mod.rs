//! Tenants, their API keys, the sessions of the dashboard, and authentication.

pub(crate) mod api_key;
pub(crate) mod auth;
mod db;
pub(crate) mod declared;
pub(crate) mod deletion;
mod http;
mod key_sessions;
mod link;
pub(crate) mod operator;
pub(crate) mod rate_limit;
mod session;
pub(crate) mod transfer;
mod ttl_cache;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub(crate) use api_key::random_secret;
pub(crate) use db::list_tenants;

use crate::background::Tasks;
use crate::database::Database;
use crate::http::extract::{FieldValue, Fields, FromFields, present, text};
use crate::http::routes::Routes;
use crate::http::state::feature_state;
use crate::load::LoadSignal;
use crate::text_enum::text_enum;
use auth::Auth;
use rate_limit::RateLimit;

feature_state! {
    /// The state of the tenant routes.
    Tenants { auth: Auth, database: Database, }
}

impl Tenants {
    pub(crate) fn new(auth: &Auth, database: &Database) -> Self {
        Self(Arc::new(Parts {
            auth: auth.clone(),
            database: database.clone(),
        }))
    }
}

pub(crate) fn routes(state: Tenants) -> Routes {
    http::routes().with_state(state)
}

/// Starts the task that deletes the rows of deleted tenants.
pub(crate) fn spawn(database: &Database, load: &LoadSignal, tasks: &Tasks) {
    tasks.spawn(deletion::work(
        database.clone(),
        load.clone(),
        tasks.clone(),
    ));
}

/// An account. The keys of a suspended tenant are rejected; its data is kept. Those of a tenant that is being deleted are
/// rejected too.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tenant {
    pub id: Uuid,
    pub name: String,
    pub state: TenantState,
    /// Null where the limit of the replica applies.
    pub rate_limit: Option<RateLimit>,
    pub created_at: DateTime<Utc>,
}

text_enum! {
    pub(crate) enum TenantState {
        Active = "active",
        Suspended = "suspended",
        Deleting = "deleting",
    }
}

/// The name of a tenant or a key: 1 to 200 characters.
#[derive(Debug)]
pub(crate) struct Name(pub String);

impl FieldValue for Name {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, 200).map(Self)
    }
}

#[derive(Debug)]
pub(crate) struct NewTenant {
    pub name: Name,
}

impl FromFields for NewTenant {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            name: fields.required("name")?,
        })
    }
}

/// A change of a tenant by the operator. Absent fields stay as they are.
#[derive(Debug)]
pub(crate) struct TenantPatch {
    pub name: Option<Name>,
    #[expect(
        clippy::option_option,
        reason = "absent, null and a value are three things in a patch"
    )]
    pub rate_limit: Option<Option<RateLimit>>,
}

impl FromFields for TenantPatch {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            name: present(fields, "name"),
            rate_limit: fields.nullable("rateLimit"),
        })
    }
}

/// Creates the demo tenant and returns its key, which has all scopes. Returns `None` if there is a tenant already.
pub async fn create_demo(database: &Database) -> sqlx::Result<Option<String>> {
    let mut transaction = database.system().await?;
    if db::any(&mut transaction).await? {
        return Ok(None);
    }
    let tenant = db::create(&mut transaction, Uuid::now_v7(), "Demo").await?;
    let tenant_id = db::find(&mut transaction, tenant.id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    let (row, key) = api_key::NewApiKey::demo().issue();
    db::keys::create_api_key(&mut transaction, tenant_id, &row).await?;
    transaction.commit().await?;
    Ok(Some(key))
}
