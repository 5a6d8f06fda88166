//! Tenants, their API keys, and the sessions that stand for a key: who calls, and what they may do.
//!
//! A `TenantId` is a proof: it has no public constructor and is only ever read from the database, by a verified key or
//! by a job that a tenant queued.

pub(crate) mod api_key;
pub(crate) mod auth;
mod db;
mod http;
mod known;
pub(crate) mod link;
pub(crate) mod session;

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub(crate) use api_key::random_secret;
pub(crate) use http::router;

use crate::app::App;
use crate::extract::{FieldValue, Fields, FromFields, text};
use crate::text_enum::text_enum;

/// A tenant as the tables know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct TenantId(i32);

impl std::fmt::Display for TenantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One account. A suspended tenant's keys are refused; nothing of it is lost.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tenant {
    pub id: Uuid,
    pub name: String,
    pub state: TenantState,
    pub created_at: DateTime<Utc>,
}

text_enum! {
    pub(crate) enum TenantState {
        Active = "active",
        Suspended = "suspended",
    }
}

/// Name of a tenant or a key: 1 to 200 characters.
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

/// Creates the tenant that a first start without configuration offers, unless there is a tenant already. Its key may
/// do everything.
pub async fn create_demo(database: &crate::database::Database) -> sqlx::Result<Option<String>> {
    let mut transaction = database.system().begin().await?;
    if db::any(&mut transaction).await? {
        return Ok(None);
    }
    let tenant = db::create(&mut transaction, Uuid::now_v7(), "Demo").await?;
    let tenant_id = db::find(&mut transaction, tenant.id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    let (key, secret) = api_key::NewApiKey::demo().issue();
    db::create_api_key(&mut transaction, tenant_id, &key).await?;
    transaction.commit().await?;
    Ok(Some(secret))
}

/// Makes the link by which whoever has started the service signs in to the demo tenant, and answers its token. There is none
/// if the demo's key was revoked.
pub async fn make_demo_link(app: &App) -> sqlx::Result<Option<String>> {
    let key_id = db::find_demo_key(app.database.system()).await?;
    Ok(key_id.map(|key_id| app.link.make(key_id, Instant::now())))
}
