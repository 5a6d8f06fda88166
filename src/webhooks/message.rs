//! The bodies of messages.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::queue::DueDelivery;
use crate::assignments::{self, Assignment, id};
use crate::ids::{AssignmentKey, TenantId};

/// The type of the message that a test call sends.
const TEST: &str = "webhook.test";

#[derive(Serialize)]
struct Body<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: DateTime<Utc>,
    data: T,
}

/// The fields of an assignment that never change, so that each attempt sends the same body.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AssignmentData<'a> {
    assignment_id: Uuid,
    coupon_code: &'a str,
    coupon_set_id: Uuid,
    requested_coupon_set_id: Uuid,
    contact_id: &'a str,
    assigned_at: DateTime<Utc>,
    workflow_id: Option<&'a str>,
    node_id: Option<&'a str>,
    execution_id: Option<&'a str>,
    attributes: Option<&'a Value>,
    ledger_number: i64,
}

impl<'a> AssignmentData<'a> {
    fn new(assignment: &'a Assignment, ledger_number: i64) -> Self {
        Self {
            assignment_id: assignment.id,
            coupon_code: &assignment.coupon_code,
            coupon_set_id: assignment.coupon_set_id,
            requested_coupon_set_id: assignment.requested_coupon_set_id,
            contact_id: &assignment.contact_id,
            assigned_at: assignment.assigned_at,
            workflow_id: assignment.workflow_id.as_deref(),
            node_id: assignment.node_id.as_deref(),
            execution_id: assignment.execution_id.as_deref(),
            attributes: assignment.attributes.as_ref(),
            ledger_number,
        }
    }
}

/// Renders the messages of deliveries, in their order; `None` if the subject of the event no longer exists.
pub(super) async fn render(
    connection: &mut PgConnection,
    tenant: TenantId,
    deliveries: &[DueDelivery],
) -> sqlx::Result<Vec<Option<Vec<u8>>>> {
    let keys: Vec<AssignmentKey> = deliveries
        .iter()
        .filter_map(DueDelivery::assignment)
        .collect();
    let found = assignments::find(connection, tenant, &keys).await?;
    let found: HashMap<AssignmentKey, Assignment> = found
        .into_iter()
        .filter_map(|assignment| Some((id::decode(assignment.id)?, assignment)))
        .collect();
    Ok(deliveries
        .iter()
        .map(|due| render_delivery(due, &found))
        .collect())
}

fn render_delivery(
    due: &DueDelivery,
    assignments: &HashMap<AssignmentKey, Assignment>,
) -> Option<Vec<u8>> {
    let Some(mut data) = due.payload.clone() else {
        let assignment = assignments.get(&due.assignment()?)?;
        let data = AssignmentData::new(assignment, due.ledger_number?);
        return Some(render_body(&due.event_type, due.occurred_at, data));
    };
    if let (Some(number), Some(members)) = (due.ledger_number, data.as_object_mut()) {
        members.insert("ledgerNumber".to_owned(), number.into());
    }
    Some(render_body(&due.event_type, due.occurred_at, data))
}

/// The message of a test call.
pub(super) fn test(webhook: Uuid) -> Vec<u8> {
    render_body(TEST, Utc::now(), json!({"webhookId": webhook}))
}

fn render_body(kind: &str, timestamp: DateTime<Utc>, data: impl Serialize) -> Vec<u8> {
    let body = Body {
        kind,
        timestamp,
        data,
    };
    serde_json::to_vec(&body).expect("a message is plain data")
}
