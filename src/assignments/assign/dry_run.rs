//! Dry runs: a request with `"test": true` has the response of a real one, but takes, counts and stores nothing.

use chrono::{TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{AssignError, AssignOutcome, AssignRequest, AssignResponse, DryRunContext};
use crate::assignments::{Assignment, AssignmentState};
use crate::coupon_sets::OnRepeat;
use crate::http::error::Error;
use crate::http::extract::{FieldValue, Fields};

/// Returned in place of a code.
const PLACEHOLDER_CODE: &str = "TEST-CODE";

/// The outcome that a dry run simulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum DryRun {
    #[serde(skip)]
    Assigned,
    Exhausted,
    AlreadyAssigned,
    Expired,
}

impl FieldValue for DryRun {
    fn from_value(value: Value) -> Result<Self, String> {
        Self::deserialize(value).map_err(|_| {
            "This must be \"exhausted\", \"alreadyAssigned\" or \"expired\".".to_owned()
        })
    }
}

impl DryRun {
    /// Reads `test` and `testOutcome`. Returns `None` for a real request.
    pub(super) fn from_fields(fields: &mut Fields) -> Option<Self> {
        let is_test: Option<bool> = fields.optional("test");
        if is_test == Some(true) {
            return Some(fields.optional("testOutcome").unwrap_or(Self::Assigned));
        }
        let outcome: Option<Self> = fields.optional("testOutcome");
        if outcome.is_some() {
            let detail = "This field is only allowed in a request with \"test\": true.";
            fields.fault("testOutcome", detail);
        }
        None
    }
}

/// Returns the response that a real request with this outcome would have.
pub(super) fn dry_run(
    context: &DryRunContext,
    kind: DryRun,
    request: AssignRequest,
) -> Result<AssignResponse, Error> {
    let refuse = |error: AssignError| error.into_error(&request.key).with("test", true);
    if let Some(fault) = context.fault {
        return Err(refuse(AssignError::Chain(fault)));
    }
    let outcome = match kind {
        DryRun::Assigned => AssignOutcome::Assigned,
        DryRun::AlreadyAssigned if context.on_repeat == OnRepeat::Refuse => {
            return Err(refuse(AssignError::Held(Some(Uuid::nil()))));
        }
        DryRun::AlreadyAssigned => AssignOutcome::AlreadyAssigned,
        DryRun::Exhausted => return Err(refuse(AssignError::Exhausted)),
        DryRun::Expired => return Err(refuse(AssignError::SetExpired)),
    };
    let now = Utc::now();
    let reserved_until = request
        .reserve_seconds
        .map(|seconds| now + TimeDelta::seconds(seconds.into()));
    Ok(AssignResponse {
        assignment: Assignment {
            id: Uuid::nil(),
            coupon_code: PLACEHOLDER_CODE.to_owned(),
            coupon_set_id: request.requested,
            requested_coupon_set_id: request.requested,
            contact_id: request.contact_id,
            state: if reserved_until.is_some() {
                AssignmentState::Reserved
            } else {
                AssignmentState::Assigned
            },
            assigned_at: now,
            reserved_until,
            expires_at: None,
            timezone: context.timezone.clone(),
            workflow_id: request.workflow_id,
            node_id: request.node_id,
            execution_id: request.execution_id,
            attributes: None,
        },
        outcome,
        test: true,
        idempotency_key: request.key.as_str().to_owned(),
    })
}
