//! The bodies of messages.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::queue::DueDelivery;
use crate::assignments::{self, Assignment, id};
use crate::ids::{AssignmentKey, TenantId};

/// The type of the message that a test call sends.
const TEST: &str = "webhook.test";

/// The maximum number of events of a message.
pub(super) const MAX_BATCH: i64 = 100;

/// An event as an endpoint receives it.
pub(super) struct Event {
    id: Uuid,
    body: Vec<u8>,
}

/// A message: an event, or a list of events.
pub(super) struct Message {
    pub id: Uuid,
    pub body: Vec<u8>,
}

impl Message {
    /// A message of these events for an endpoint that receives up to `max_batch` at a time. The id of a list follows from
    /// those of its events, so that a message that is sent again as it was has the same.
    pub(super) fn new(events: &[&Event], max_batch: usize) -> Self {
        if let [event] = events
            && max_batch == 1
        {
            return Self {
                id: event.id,
                body: event.body.clone(),
            };
        }
        let bodies: Vec<&[u8]> = events.iter().map(|event| &*event.body).collect();
        let mut hash = Sha256::new();
        for event in events {
            hash.update(event.id);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        Self {
            id: uuid::Builder::from_custom_bytes(id).into_uuid(),
            body: [br#"{"events":["#, &*bodies.join(&b","[..]), b"]}"].concat(),
        }
    }

    /// The message of a test call.
    pub(super) fn test(webhook: Uuid, max_batch: usize) -> Self {
        let id = Uuid::now_v7();
        let data = json!({"webhookId": webhook});
        let event = Event::new(id, max_batch > 1, TEST, Utc::now(), data);
        Self::new(&[&event], max_batch)
    }
}

impl Event {
    /// Returns the size of its body, in bytes.
    pub(super) fn size(&self) -> usize {
        self.body.len()
    }

    /// `is_listed`: the message is a list, so each event names its id.
    fn new(
        id: Uuid,
        is_listed: bool,
        kind: &str,
        timestamp: DateTime<Utc>,
        data: impl Serialize,
    ) -> Self {
        let body = Body {
            id: is_listed.then_some(id),
            kind,
            timestamp,
            data,
        };
        let body = serde_json::to_vec(&body).expect("a message is plain data");
        Self { id, body }
    }
}

#[derive(Serialize)]
struct Body<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
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

/// Renders the events of deliveries, in their order; `None` if the subject of the event no longer exists. `is_listed`: the
/// endpoint receives lists of events.
pub(super) async fn render(
    connection: &mut PgConnection,
    tenant: TenantId,
    deliveries: &[DueDelivery],
    is_listed: bool,
) -> sqlx::Result<Vec<Option<Event>>> {
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
        .map(|due| render_event(due, is_listed, &found))
        .collect())
}

fn render_event(
    due: &DueDelivery,
    is_listed: bool,
    assignments: &HashMap<AssignmentKey, Assignment>,
) -> Option<Event> {
    let (kind, at) = (&due.event_type, due.occurred_at);
    let Some(mut data) = due.payload.clone() else {
        let assignment = assignments.get(&due.assignment()?)?;
        let data = AssignmentData::new(assignment, due.ledger_number?);
        return Some(Event::new(due.id, is_listed, kind, at, data));
    };
    if let (Some(number), Some(members)) = (due.ledger_number, data.as_object_mut()) {
        members.insert("ledgerNumber".to_owned(), number.into());
    }
    Some(Event::new(due.id, is_listed, kind, at, data))
}
