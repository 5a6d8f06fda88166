//! Assignments: each single-use code is handed to exactly one contact, once for each idempotency key.
//!
//! The log is append-only, and the database function `assign_batch` is the only writer of it. `dealer` gathers what is
//! asked of a set at the same time into one call of it. What becomes of an assignment is in `life`: entries of a ledger
//! that is append-only too. Only texts that callers sent are rewritten, when a contact is erased (`contacts`).

mod batch;
mod db;
pub(crate) mod dealer;
mod events;
mod http;
pub(crate) mod id;
pub(crate) mod key;
mod ledger;
mod life;
mod lists;
pub(crate) mod queue;
pub(crate) mod recorder;
mod rehearsal;
mod search;
pub(crate) mod sweeper;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub(crate) use db::find;
pub(crate) use events::find_histories;
pub(crate) use http::router;
pub(crate) use life::{History, Reason};
pub(crate) use lists::Spot;
pub(crate) use search::{Span, is_storable, list_of_contact};

use crate::coupon_sets::{ChainFault, MAX_CODE_CHARS};
use crate::error::{
    ALREADY_ASSIGNED, ASSIGNMENT_EXPIRED, ASSIGNMENT_RELEASED, ASSIGNMENT_VOID, BATCH_WITHHELD,
    CONTACT_LIMIT_REACHED, COUPON_SET_EXHAUSTED, COUPON_SET_EXPIRED, Error, IDEMPOTENCY_KEY_REUSED,
    OVERLOADED, UNAVAILABLE,
};
use crate::extract::{FieldValue, Fields, FromFields, check_text, integer, text};
use crate::text_enum::text_enum;
use id::Place;
use key::IdempotencyKey;
use rehearsal::Rehearsal;

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
    /// Only while it is reserved.
    pub reserved_until: Option<DateTime<Utc>>,
    /// From this moment on the code is not valid; null if it is for ever, or if that is known at the confirmation only.
    pub expires_at: Option<DateTime<Utc>>,
    /// Of the set that served.
    pub timezone: String,
    pub workflow_id: Option<String>,
    pub node_id: Option<String>,
    pub execution_id: Option<String>,
    /// What the import kept with the code: names and values, all text.
    pub attributes: Option<Value>,
}

text_enum! {
    /// Where an assignment is in its life: `reserved`, then `assigned`, `sent`, `used`; or one of the ends before that.
    pub(crate) enum State {
        Reserved = "reserved",
        Assigned = "assigned",
        Sent = "sent",
        Used = "used",
        /// Given back: the code may be another's by now.
        Released = "released",
        /// Not to be used, and never to be given again.
        Void = "void",
        /// It was reserved and not confirmed in time, and so given back.
        Expired = "expired",
    }
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
pub(crate) struct ContactId(pub String);

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

/// A code, as it was imported.
struct Code(String);

impl FieldValue for Code {
    fn from_value(value: Value) -> Result<Self, String> {
        text(value, MAX_CODE_CHARS).map(Self)
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
    rehearsal: Option<Rehearsal>,
}

/// How long a code is reserved: 1 second to 7 days.
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
        let rehearsal = Rehearsal::from_fields(fields);
        Some(Self {
            contact: contact?,
            child,
            workflow_id,
            node_id,
            execution_id,
            reserve_for,
            rehearsal,
        })
    }
}

/// A code that was handed out, now or before, as the dealer answers it.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub outcome: Outcome,
    pub place: Place,
    pub set: Uuid,
    /// The contact that it belongs to, if contacts were merged: the one that stands for all of them.
    pub contact_id: Option<String>,
    pub code: String,
    pub assigned_at: DateTime<Utc>,
    pub state: State,
    pub reserved_until: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub timezone: String,
    pub workflow_id: Option<String>,
    pub node_id: Option<String>,
    pub execution_id: Option<String>,
    pub attributes: Option<Value>,
}

/// Why no code was handed out.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("neither the set nor its children have a code left")]
    Exhausted,
    #[error("the set has expired, and its children have no code left")]
    SetExpired,
    /// Without the assignment if it would have been made by the same batch.
    #[error("the contact already holds a code of the set")]
    Held(Option<Uuid>),
    #[error("the contact has reached the limit of codes per contact")]
    LimitReached,
    /// What the key was answered with has ended; the code may be another's.
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
    /// The database did not answer in time. Whether a code was handed out is unknown until the key is sent again.
    #[error("the outcome is unknown")]
    Unknown,
    #[error("too many requests are waiting")]
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
            Self::Unknown => Error::refused(
                &UNAVAILABLE,
                "The database does not respond, so the outcome is unknown. Retry with this idempotency key: \
                 the code is assigned exactly once.",
            )
            .with("idempotencyKey", key.as_str()),
            Self::Overloaded => Error::refused(&OVERLOADED, "Too many requests of this tenant are waiting. Nothing was changed; try again in a moment.")
                .with("idempotencyKey", key.as_str()),
            Self::Internal => Error::Internal("an assignment failed; its batch was logged".to_owned()),
        }
    }

    /// The same for an event, which has no key: it may be sent again as it is.
    fn into_error_of_event(self) -> Error {
        match self {
            Self::Overloaded => Error::refused(
                &OVERLOADED,
                "Too many requests of this tenant are waiting. Nothing was changed; try again in a moment.",
            ),
            Self::Unknown => Error::refused(
                &UNAVAILABLE,
                "The database does not respond, so the outcome is unknown. Retry the request: each event is recorded exactly once.",
            ),
            _ => Error::Internal("an event failed; its batch was logged".to_owned()),
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
