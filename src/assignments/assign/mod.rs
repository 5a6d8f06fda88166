//! Assigning codes: one by one or in batches.
//!
//! `batcher` gathers the requests for a set that arrive at the same time into one call of the database function
//! `assign_batch`.

mod batch;
mod batcher;
mod db;
mod dry_run;
mod http;

use std::ops::Not;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub(super) use batcher::AssignBatcher;
pub(super) use http::routes;

use super::{Assignment, ContactId, State, id};
use crate::batching::BatchError;
use crate::coupon_sets::{ChainFault, OnRepeat};
use crate::http::error::{
    ALREADY_ASSIGNED, ASSIGNMENT_EXPIRED, ASSIGNMENT_RELEASED, ASSIGNMENT_VOID, BATCH_WITHHELD,
    CONTACT_LIMIT_REACHED, COUPON_SET_EXHAUSTED, COUPON_SET_EXPIRED, Error, IDEMPOTENCY_KEY_REUSED,
    OVERLOADED, UNAVAILABLE,
};
use crate::http::extract::{FieldValue, Fields, FromFields, Json, integer, text};
use crate::http::idempotency_key::IdempotencyKey;
use crate::ids::{AssignmentKey, TenantId};
use dry_run::DryRun;

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
    reserve_for: Option<ReserveSeconds>,
    dry_run: Option<DryRun>,
}

/// Duration of a reservation: 1 second to 7 days.
#[derive(Debug, Clone, Copy)]
struct ReserveSeconds(i32);

impl FieldValue for ReserveSeconds {
    fn from_value(value: Value) -> Result<Self, String> {
        let seconds = integer(&value, 1, 7 * 24 * 60 * 60)?;
        Ok(Self(i32::try_from(seconds).expect("the range was checked")))
    }
}

impl FromFields for NewAssignment {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let label = |fields: &mut Fields, name| fields.optional(name).map(|Label(text)| text);
        let contact = fields.required("contactId");
        let child = fields.optional("childCouponSetId");
        let workflow_id = label(fields, "workflowId");
        let node_id = label(fields, "nodeId");
        let execution_id = label(fields, "executionId");
        let reserve_for = fields.optional("reserveForSeconds");
        let dry_run = DryRun::from_fields(fields);
        Some(Self {
            contact: contact?,
            child,
            workflow_id,
            node_id,
            execution_id,
            reserve_for,
            dry_run,
        })
    }
}

/// An assignment as the answer to a request for one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AssignResponse {
    #[serde(flatten)]
    assignment: Assignment,
    outcome: Outcome,
    /// Nothing was taken: the request was a test.
    #[serde(skip_serializing_if = "Not::not")]
    test: bool,
    /// The key that gives this answer again: the caller's, or the one that the service made.
    idempotency_key: String,
}

impl AssignResponse {
    fn status(&self) -> StatusCode {
        match self.outcome {
            Outcome::Assigned if !self.test => StatusCode::CREATED,
            _ => StatusCode::OK,
        }
    }
}

impl IntoResponse for AssignResponse {
    fn into_response(self) -> Response {
        (self.status(), Json(self)).into_response()
    }
}

/// A request for a code, with what its answer needs.
struct AssignRequest {
    requested: Uuid,
    contact_id: String,
    workflow_id: Option<String>,
    node_id: Option<String>,
    execution_id: Option<String>,
    reserve_seconds: Option<i32>,
    key: IdempotencyKey,
}

impl AssignRequest {
    fn new(requested: Uuid, new: NewAssignment, key: IdempotencyKey) -> Self {
        Self {
            requested,
            contact_id: new.contact.0,
            workflow_id: new.workflow_id,
            node_id: new.node_id,
            execution_id: new.execution_id,
            reserve_seconds: new.reserve_for.map(|seconds| seconds.0),
            key,
        }
    }

    /// The item of a batch for it; `caller` is the id of the API key.
    fn item(&self, caller: Uuid) -> Item {
        Item {
            key_hash: self.key.hash(),
            contact_id: self.contact_id.clone(),
            workflow_id: self.workflow_id.clone(),
            node_id: self.node_id.clone(),
            execution_id: self.execution_id.clone(),
            reserve_seconds: self.reserve_seconds,
            caller,
        }
    }

    fn answer(self, answer: Answer) -> Result<AssignResponse, Error> {
        let result = answer.map_err(|error| error.into_error(&self.key))?;
        // A new assignment is what was asked for; an old one is what was asked for then.
        let (workflow_id, node_id, execution_id) = match result.outcome {
            Outcome::Assigned => (self.workflow_id, self.node_id, self.execution_id),
            Outcome::Replayed | Outcome::AlreadyAssigned => {
                (result.workflow_id, result.node_id, result.execution_id)
            }
        };
        Ok(AssignResponse {
            assignment: Assignment {
                id: id::encode(result.key, result.assigned_at),
                coupon_code: result.code,
                coupon_set_id: result.set,
                requested_coupon_set_id: self.requested,
                contact_id: result.contact_id.unwrap_or(self.contact_id),
                state: result.state,
                assigned_at: result.assigned_at,
                reserved_until: result.reserved_until,
                expires_at: result.expires_at,
                timezone: result.timezone,
                workflow_id,
                node_id,
                execution_id,
                attributes: result.attributes,
            },
            outcome: result.outcome,
            test: false,
            idempotency_key: self.key.as_str().to_owned(),
        })
    }
}

/// One item of a batch that a set is asked for.
#[derive(Debug)]
struct Item {
    key_hash: Uuid,
    contact_id: String,
    workflow_id: Option<String>,
    node_id: Option<String>,
    execution_id: Option<String>,
    reserve_seconds: Option<i32>,
    /// The id of the API key that asked.
    caller: Uuid,
}

type Answer = Result<AssignResult, AssignError>;

/// The set that is asked, and the child set that the request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Target {
    tenant: TenantId,
    set: Uuid,
    child: Option<Uuid>,
}

/// The outcome of a request that was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    /// A code was handed out now.
    Assigned,
    /// The same key was answered before, with this.
    Replayed,
    /// The contact held this code of the set already, and the set's `onRepeat` is `sameCode`.
    AlreadyAssigned,
}

/// A code that was assigned, now or before, as the batcher returns it.
#[derive(Debug, Clone)]
struct AssignResult {
    outcome: Outcome,
    key: AssignmentKey,
    set: Uuid,
    /// The contact that it belongs to, if contacts were merged: the one that stands for all of them.
    contact_id: Option<String>,
    code: String,
    assigned_at: DateTime<Utc>,
    state: State,
    reserved_until: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    timezone: String,
    workflow_id: Option<String>,
    node_id: Option<String>,
    execution_id: Option<String>,
    attributes: Option<Value>,
}

/// The set that is asked, as far as a dry run needs it.
#[derive(Debug)]
struct DryRunContext {
    on_repeat: OnRepeat,
    timezone: String,
    /// What is wrong with the chain of child sets.
    fault: Option<ChainFault>,
}

/// The reason that no code was assigned.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AssignError {
    #[error("neither the set nor its children have a code left")]
    Exhausted,
    #[error("the set has expired, and its children have no code left")]
    SetExpired,
    /// Without the assignment if it would have been made by the same batch.
    #[error("the contact already holds a code of the set")]
    Held(Option<Uuid>),
    #[error("the contact has reached the limit of codes per contact")]
    LimitReached,
    /// The assignment of the key has ended; the code may be another's.
    #[error("the assignment has ended")]
    Ended(Uuid, State),
    /// The item could be served, but another one of its batch could not.
    #[error("the batch as a whole cannot be served")]
    Withheld,
    #[error("the key was used for another contact")]
    KeyReused,
    #[error("the set does not exist")]
    SetNotFound,
    #[error("the child sets are not valid: {}", .0.as_str())]
    Chain(ChainFault),
    /// There is no answer of the database.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl AssignError {
    fn into_error(self, key: &IdempotencyKey) -> Error {
        match self {
            Self::Exhausted => Error::refused(
                &COUPON_SET_EXHAUSTED,
                "Neither the coupon set nor a child set has a code left. Import codes, or name a child set.",
            ),
            Self::SetExpired => Error::refused(
                &COUPON_SET_EXPIRED,
                "The coupon set has expired, and no child set has a code left. Change `expiresAt`, or name a child set.",
            ),
            Self::Held(assignment) => {
                let detail = "The contact already holds a code of this set, and its `onRepeat` is \"refuse\".";
                let error = Error::refused(&ALREADY_ASSIGNED, detail);
                match assignment {
                    Some(id) => error.with("assignmentId", id.to_string()),
                    None => error,
                }
            }
            Self::LimitReached => Error::refused(
                &CONTACT_LIMIT_REACHED,
                "The contact already holds the maximum number of codes of this set (`assignmentsPerContact`).",
            ),
            Self::Ended(id, state) => ended(id, state),
            Self::Withheld => Error::refused(
                &BATCH_WITHHELD,
                "This item could be assigned a code, but not every item of the batch could. Nothing was assigned.",
            ),
            Self::KeyReused => Error::refused(
                &IDEMPOTENCY_KEY_REUSED,
                "The idempotency key was already used for another contact. Use a new key for each execution.",
            ),
            Self::SetNotFound => Error::not_found("coupon set"),
            Self::Chain(fault) => fault.into_error("/childCouponSetId"),
            Self::Batch(BatchError::Unknown) => Error::refused(
                &UNAVAILABLE,
                "The database does not respond, so the outcome is unknown. Retry with this idempotency key: \
                 the code is assigned exactly once.",
            )
            .with("idempotencyKey", key.as_str()),
            Self::Batch(BatchError::Overloaded) => Error::refused(&OVERLOADED, "Too many requests of this tenant are waiting. Nothing was changed; try again in a moment.")
                .with("idempotencyKey", key.as_str()),
            Self::Batch(BatchError::Failed) => Error::Internal("an assignment failed; its batch was logged".to_owned()),
        }
    }
}

/// The answer to a key whose assignment has ended.
fn ended(id: Uuid, state: State) -> Error {
    let (kind, what) = match state {
        State::Void => (&ASSIGNMENT_VOID, "was voided"),
        State::Expired => (
            &ASSIGNMENT_EXPIRED,
            "was reserved and not confirmed in time",
        ),
        _ => (&ASSIGNMENT_RELEASED, "was released"),
    };
    let detail = format!(
        "The assignment that this key returned {what}. Use a new key to request another code."
    );
    Error::refused(kind, detail).with("assignmentId", id.to_string())
}
