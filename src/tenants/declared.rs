//! Tenants and keys as a file declares them: what is missing is created, what differs is changed, and everything else is
//! left alone.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::api_key::{ApiKeyRow, NewApiKey};
use super::operator::being_deleted;
use super::rate_limit::RateLimit;
use super::{Name, TenantPatch, TenantState, db};
use crate::declared::Outcome;
use crate::http::error::{Error, NAME_TAKEN, WRONG_STATE};
use crate::http::extract::{FieldValue, Fields, FromFields};
use crate::ids::TenantId;
use crate::text_enum::text_enum;

text_enum! {
    /// The states that a file can declare.
    enum DeclaredState {
        Active = "active",
        Suspended = "suspended",
    }
}

impl From<DeclaredState> for TenantState {
    fn from(state: DeclaredState) -> Self {
        match state {
            DeclaredState::Active => Self::Active,
            DeclaredState::Suspended => Self::Suspended,
        }
    }
}

/// A tenant, identified by its name. Absent fields stay as they are.
#[derive(Debug)]
pub(crate) struct DeclaredTenant {
    pub name: Name,
    state: Option<DeclaredState>,
    #[expect(
        clippy::option_option,
        reason = "absent, null and a value are three things"
    )]
    rate_limit: Option<Option<RateLimit>>,
}

impl FromFields for DeclaredTenant {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name");
        let state = fields.optional("state");
        let rate_limit = fields.nullable("rateLimit");
        Some(Self {
            name: name?,
            state,
            rate_limit,
        })
    }
}

/// An API key by the hash of its secret.
pub(crate) struct DeclaredKey(ApiKeyRow);

impl DeclaredKey {
    pub(crate) fn id(&self) -> Uuid {
        self.0.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }
}

impl FromFields for DeclaredKey {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let id = fields.required("id");
        let hash: Option<SecretHash> = fields.required("secretHash");
        let NewApiKey { name, scopes } = NewApiKey::from_fields(fields)?;
        Some(Self(ApiKeyRow {
            id: id?,
            name: name.0,
            scopes,
            secret_hash: hash?.0,
        }))
    }
}

struct SecretHash([u8; 32]);

impl FieldValue for SecretHash {
    fn from_value(value: Value) -> Result<Self, String> {
        let digits = value.as_str().map(str::as_bytes).unwrap_or_default();
        let (pairs, rest) = digits.as_chunks::<2>();
        let byte = |pair: &[u8; 2]| {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            u8::try_from(digit(0)? * 16 + digit(1)?).ok()
        };
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        bytes
            .filter(|_| rest.is_empty())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| "This must be a SHA-256 of 64 hexadecimal digits.".to_owned())
    }
}

/// Keeps two applications from creating the same tenant twice, to the end of the transaction.
pub(crate) async fn lock(connection: &mut PgConnection) -> sqlx::Result<()> {
    db::lock_tenants(connection).await
}

/// Creates or changes a tenant.
pub(crate) async fn apply_tenant(
    connection: &mut PgConnection,
    declared: &DeclaredTenant,
) -> Result<(TenantId, Outcome), Error> {
    let name = &declared.name.0;
    let mut found = db::find_by_name(connection, name).await?;
    if found.len() > 1 {
        let detail = format!("Several tenants have the name {name:?}. Rename all but one.");
        return Err(Error::refused(&NAME_TAKEN, detail));
    }
    let (tenant, is_new) = match found.pop() {
        Some(tenant) => (tenant, false),
        None => (db::create(connection, Uuid::now_v7(), name).await?, true),
    };
    if tenant.state == TenantState::Deleting {
        return Err(being_deleted());
    }
    let mut fields = Vec::new();
    if let Some(state) = declared.state.map(TenantState::from)
        && state != tenant.state
    {
        db::set_state(connection, tenant.id, state).await?;
        fields.push("state");
    }
    if let Some(rate_limit) = declared.rate_limit
        && rate_limit != tenant.rate_limit
    {
        let patch = TenantPatch {
            name: None,
            rate_limit: Some(rate_limit),
        };
        db::patch(connection, tenant.id, &patch).await?;
        fields.push("rateLimit");
    }
    let number = db::find(connection, tenant.id)
        .await?
        .ok_or_else(|| Error::not_found("tenant"))?;
    let outcome = if is_new {
        Outcome::Created
    } else {
        Outcome::of(fields)
    };
    Ok((number, outcome))
}

/// Creates or changes a key of a tenant.
pub(crate) async fn apply_key(
    connection: &mut PgConnection,
    tenant: TenantId,
    declared: &DeclaredKey,
) -> Result<Outcome, Error> {
    let declared = &declared.0;
    let wrong = |detail: &str| Err(Error::refused(&WRONG_STATE, detail));
    let found = db::keys::find_stored_key(connection, declared.id).await?;
    let Some(found) = found else {
        db::keys::create_api_key(connection, tenant, declared).await?;
        return Ok(Outcome::Created);
    };
    if found.tenant != tenant {
        return wrong("The id belongs to a key of another tenant.");
    }
    if found.is_revoked {
        return wrong("The key was revoked. Declare another key.");
    }
    if found.secret_hash != declared.secret_hash {
        return wrong(
            "The stored key has another secret. Declare another key, with an id of its own.",
        );
    }
    let mut fields = Vec::new();
    if found.name != declared.name {
        fields.push("name");
    }
    if found.scopes != declared.scopes {
        fields.push("scopes");
    }
    if !fields.is_empty() {
        db::keys::update_api_key(connection, tenant, declared).await?;
    }
    Ok(Outcome::of(fields))
}
