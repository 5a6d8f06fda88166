//! Webhooks as a file declares them: what is missing is created, what differs is changed, and everything else is left alone.

use super::{NewState, NewWebhook, Webhook, WebhookPatch, WebhookState, Webhooks, db};
use crate::declared::Outcome;
use crate::http::error::{Error, Fault, WRONG_STATE};
use crate::http::extract::{Fields, FromFields};
use crate::ids::TenantId;

/// A webhook, identified by its URL. Absent fields stay as they are.
pub(crate) struct DeclaredWebhook {
    url: String,
    /// With all fields but the state.
    new: NewWebhook,
    state: Option<NewState>,
}

/// The outcome of applying a webhook.
pub(crate) struct AppliedWebhook {
    pub outcome: Outcome,
    /// The secret of a webhook that was created.
    pub secret: Option<String>,
}

impl DeclaredWebhook {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Checks the URL by the rules of the service. The fault has its place in the webhook.
    pub(crate) fn check(&self, webhooks: &Webhooks) -> Result<(), Fault> {
        let checked = webhooks.client.check(&self.url);
        checked
            .map(drop)
            .map_err(|detail| Fault::new("/url", detail))
    }

    /// The fields that differ from those of a stored webhook, as a patch and by name.
    fn difference(&self, stored: &Webhook) -> (WebhookPatch, Vec<&'static str>) {
        let declared = &self.new.0;
        let mut fields = Vec::new();
        let mut differs = |name: &'static str, differs: bool| {
            if differs {
                fields.push(name);
            }
            differs
        };
        let event_types = declared.event_types.clone();
        let event_types = event_types.filter(|t| differs("eventTypes", *t != stored.event_types));
        let description = declared.description.clone();
        let description = description.filter(|d| differs("description", *d != stored.description));
        let max_batch = declared.max_batch;
        let max_batch = max_batch.filter(|max| differs("maxBatch", *max != stored.max_batch));
        let state = self.state.filter(|state| {
            let wanted = match state {
                NewState::Enabled => WebhookState::Enabled,
                NewState::Disabled => WebhookState::Disabled,
            };
            differs("state", wanted != stored.state)
        });
        let patch = WebhookPatch {
            url: None,
            event_types,
            description,
            max_batch,
            state,
        };
        (patch, fields)
    }
}

impl FromFields for DeclaredWebhook {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let state = fields.optional("state");
        let new = NewWebhook::from_fields(fields)?;
        let url = new.0.url.clone()?;
        Some(Self { url, new, state })
    }
}

/// Creates or changes a webhook of a tenant, or only finds out what would be done.
pub(crate) async fn apply(
    webhooks: &Webhooks,
    tenant: TenantId,
    declared: DeclaredWebhook,
    dry_run: bool,
) -> Result<AppliedWebhook, Error> {
    let stored = webhooks
        .database
        .with_tenant(tenant, async |connection| {
            db::find_by_url(connection, tenant, &declared.url).await
        })
        .await?;
    match &stored[..] {
        [] => {
            let secret = if dry_run {
                None
            } else {
                Some(create(webhooks, tenant, declared).await?)
            };
            let outcome = Outcome::Created;
            Ok(AppliedWebhook { outcome, secret })
        }
        [stored] => {
            let (patch, fields) = declared.difference(stored);
            if !dry_run && !fields.is_empty() {
                super::patch(webhooks, tenant, stored.id, patch).await?;
            }
            let outcome = Outcome::of(fields);
            Ok(AppliedWebhook {
                outcome,
                secret: None,
            })
        }
        _ => {
            let detail = "Several webhooks of the tenant have this URL. Delete all but one.";
            Err(Error::refused(&WRONG_STATE, detail))
        }
    }
}

/// Creates the webhook and returns its secret.
async fn create(
    webhooks: &Webhooks,
    tenant: TenantId,
    declared: DeclaredWebhook,
) -> Result<String, Error> {
    let issued = super::create(webhooks, tenant, declared.new).await?;
    if let Some(NewState::Disabled) = declared.state {
        let disable = WebhookPatch {
            url: None,
            event_types: None,
            description: None,
            max_batch: None,
            state: Some(NewState::Disabled),
        };
        super::patch(webhooks, tenant, issued.webhook.id, disable).await?;
    }
    Ok(issued.secret)
}
