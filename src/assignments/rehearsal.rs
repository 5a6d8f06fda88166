//! Test mode: a request with `"test": true` is answered as a real one would be, and nothing is taken, counted or
//! remembered.

use chrono::{TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::http::{Asked, Assigned};
use super::{Assignment, Outcome, Refusal, State};
use crate::coupon_sets::{ChainFault, OnRepeat};
use crate::error::Error;
use crate::extract::{FieldValue, Fields};

/// Stands where a code would be.
const PLACEHOLDER: &str = "TEST-CODE";

/// What is rehearsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Rehearsal {
    #[serde(skip)]
    Assigned,
    Exhausted,
    AlreadyAssigned,
    Expired,
}

impl FieldValue for Rehearsal {
    fn from_value(value: Value) -> Result<Self, String> {
        Self::deserialize(value).map_err(|_| {
            "This must be \"exhausted\", \"alreadyAssigned\" or \"expired\".".to_owned()
        })
    }
}

impl Rehearsal {
    /// Reads `test` and `testOutcome`; `None` for a request that is meant.
    pub(super) fn from_fields(fields: &mut Fields) -> Option<Self> {
        let is_test: Option<bool> = fields.optional("test");
        if is_test == Some(true) {
            return Some(fields.optional("testOutcome").unwrap_or(Self::Assigned));
        }
        fields.refuse(
            "testOutcome",
            "This field is only allowed in a request with \"test\": true.",
        );
        None
    }
}

/// What is asked of, as far as a rehearsal needs it.
#[derive(Debug)]
pub(super) struct Stage {
    pub on_repeat: OnRepeat,
    pub timezone: String,
    /// What is wrong with the chain of child sets.
    pub fault: Option<ChainFault>,
}

/// Answers a request as a real one would be answered.
pub(super) fn rehearse(
    stage: &Stage,
    rehearsal: Rehearsal,
    asked: Asked,
) -> Result<Assigned, Error> {
    let refuse = |refusal: Refusal| refusal.into_error(&asked.key).with("test", true);
    if let Some(fault) = stage.fault {
        return Err(refuse(Refusal::Chain(fault)));
    }
    let outcome = match rehearsal {
        Rehearsal::Assigned => Outcome::Assigned,
        Rehearsal::AlreadyAssigned if stage.on_repeat == OnRepeat::Refuse => {
            return Err(refuse(Refusal::Held(Some(Uuid::nil()))));
        }
        Rehearsal::AlreadyAssigned => Outcome::AlreadyAssigned,
        Rehearsal::Exhausted => return Err(refuse(Refusal::Exhausted)),
        Rehearsal::Expired => return Err(refuse(Refusal::SetExpired)),
    };
    let now = Utc::now();
    let reserved_until = asked
        .reserve_seconds
        .map(|seconds| now + TimeDelta::seconds(seconds.into()));
    Ok(Assigned {
        assignment: Assignment {
            id: Uuid::nil(),
            coupon_code: PLACEHOLDER.to_owned(),
            coupon_set_id: asked.requested,
            requested_coupon_set_id: asked.requested,
            contact_id: asked.contact_id,
            state: if reserved_until.is_some() {
                State::Reserved
            } else {
                State::Assigned
            },
            assigned_at: now,
            reserved_until,
            expires_at: None,
            timezone: stage.timezone.clone(),
            workflow_id: asked.workflow_id,
            node_id: asked.node_id,
            execution_id: asked.execution_id,
            attributes: None,
        },
        outcome,
        test: true,
        idempotency_key: asked.key.as_str().to_owned(),
    })
}
