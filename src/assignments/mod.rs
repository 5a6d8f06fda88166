//! Assignments: each single-use code is handed to exactly one contact, once for each idempotency key.
//!
//! The log is append-only, and the database function `assign_batch` is the only writer of it. `dealer` gathers what is
//! asked of a set at the same time into one call of it.

mod batch;
mod db;
pub(crate) mod dealer;
mod http;
mod id;
mod key;
mod lists;
mod search;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub(crate) use http::router;

use crate::coupon_sets;
use crate::error::{
    ALREADY_ASSIGNED, COUPON_SET_EXHAUSTED, Error, IDEMPOTENCY_KEY_REUSED, OVERLOADED, UNAVAILABLE,
};
use crate::extract::{FieldValue, Fields, FromFields, check_text, text};
use id::Place;
use key::IdempotencyKey;

/// The fact that a contact was given a code.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Assignment {
    pub id: Uuid,
    pub coupon_code: String,
    /// The set that served.
    pub coupon_set_id: Uuid,
    /// The set that was asked: another one if a child set served.
    pub requested_coupon_set_id: Uuid,
    pub contact_id: String,
    pub state: State,
    pub assigned_at: DateTime<Utc>,
    pub workflow_id: Option<String>,
    pub node_id: Option<String>,
    pub execution_id: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum State {
    Assigned,
}

/// How a request was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// A code was handed out now.
    Assigned,
    /// The same key was answered before, with this.
    Replayed,
    /// The contact held this code of the set already, and the set's `onRepeat` is `sameCode`.
    AlreadyAssigned,
}

/// Opaque id of a contact: 1 to 255 characters, kept as it is.
#[derive(Debug)]
pub(crate) struct ContactId(String);

impl FieldValue for ContactId {
    fn from_value(value: Value) -> Result<Self, String> {
        let Value::String(id) = value else {
            return Err("This must be a string.".to_owned());
        };
        check_text(&id, 255).map(|()| Self(id))
    }
}

/// Id of a workflow, a node or an execution: 1 to 255 characters.
struct Label(String);

impl FieldValue for Label {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, 255).map(Self)
    }
}

/// A request for a code.
#[derive(Debug)]
pub(crate) struct NewAssignment {
    contact: ContactId,
    child: Option<Uuid>,
    workflow_id: Option<String>,
    node_id: Option<String>,
    execution_id: Option<String>,
}

impl FromFields for NewAssignment {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let label = |fields: &mut Fields, name| fields.optional(name).map(|Label(text)| text);
        let contact = fields.required("contactId");
        let child = fields.optional("childCouponSetId");
        let workflow_id = label(fields, "workflowId");
        let node_id = label(fields, "nodeId");
        let execution_id = label(fields, "executionId");
        Some(Self {
            contact: contact?,
            child,
            workflow_id,
            node_id,
            execution_id,
        })
    }
}

/// A code that was handed out, now or before, as the dealer answers it.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub outcome: Outcome,
    pub place: Place,
    pub set: Uuid,
    pub code: String,
    pub assigned_at: DateTime<Utc>,
    pub workflow_id: Option<String>,
    pub node_id: Option<String>,
    pub execution_id: Option<String>,
}

/// Why no code was handed out.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("neither the set nor its children have a code left")]
    Exhausted,
    #[error("the contact holds a code of the set")]
    Held(Place, DateTime<Utc>),
    #[error("the key was used for another contact")]
    KeyReused,
    #[error("there is no such set")]
    SetNotFound,
    #[error("there is no such child set")]
    ChildNotFound,
    #[error("the child sets form a cycle")]
    ChildCycle,
    #[error("the chain of child sets is too long")]
    ChainTooLong,
    /// The database did not answer in time. Whether a code was handed out is unknown until the key is sent again.
    #[error("the outcome is unknown")]
    Unknown,
    #[error("too much is waiting already")]
    Overloaded,
    /// A failure of ours, logged where it happened.
    #[error("internal error")]
    Internal,
}

impl Refusal {
    fn into_error(self, key: &IdempotencyKey) -> Error {
        match self {
            Self::Exhausted => Error::refused(
                &COUPON_SET_EXHAUSTED,
                "Neither the coupon set nor a child set has a code left. Import more, or name a child set.",
            ),
            Self::Held(place, at) => {
                Error::refused(&ALREADY_ASSIGNED, "The contact holds a code of this set, which gives no second one.")
                    .with("assignmentId", id::encode(place, at).to_string())
            }
            Self::KeyReused => Error::refused(
                &IDEMPOTENCY_KEY_REUSED,
                "This idempotency key was used for another contact. Use a new key for each execution.",
            ),
            Self::SetNotFound => Error::not_found("coupon set"),
            Self::ChildNotFound => coupon_sets::child_not_found("/childCouponSetId"),
            Self::ChildCycle => coupon_sets::child_cycle(),
            Self::ChainTooLong => coupon_sets::chain_too_long(),
            Self::Unknown => Error::refused(
                &UNAVAILABLE,
                "The database does not answer. Send the request again with this idempotency key: whatever was done is \
                 done once.",
            )
            .with("idempotencyKey", key.as_str()),
            Self::Overloaded => Error::refused(&OVERLOADED, "Too many of your requests are waiting. Nothing was done.")
                .with("idempotencyKey", key.as_str()),
            Self::Internal => Error::Internal("an assignment failed; its batch was logged".to_owned()),
        }
    }
}
