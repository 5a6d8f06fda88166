//! SQL of assignments.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::dealer::{Answer, Item, Target};
use super::id::{self, Place};
use super::{Assignment, Outcome, Refusal, Served, State};
use crate::tenants::TenantId;

/// Items in columns, as the function takes them.
pub(super) struct Batch<'a> {
    target: Target,
    keys: Vec<Uuid>,
    contacts: Vec<&'a str>,
    workflows: Vec<Option<&'a str>>,
    nodes: Vec<Option<&'a str>>,
    executions: Vec<Option<&'a str>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(target: Target, items: impl Iterator<Item = &'a Item>) -> Self {
        let mut batch = Self {
            target,
            keys: Vec::new(),
            contacts: Vec::new(),
            workflows: Vec::new(),
            nodes: Vec::new(),
            executions: Vec::new(),
        };
        for item in items {
            batch.keys.push(item.key_hash);
            batch.contacts.push(&item.contact_id);
            batch.workflows.push(item.workflow_id.as_deref());
            batch.nodes.push(item.node_id.as_deref());
            batch.executions.push(item.execution_id.as_deref());
        }
        batch
    }
}

/// What the function answers for one item.
pub(super) struct BatchRow {
    item: i32,
    outcome: String,
    /// The set could not serve the item, but a child may.
    pub fallback: bool,
    set_no: Option<i32>,
    set_id: Option<Uuid>,
    number: Option<i64>,
    code: Option<String>,
    assigned_at: Option<DateTime<Utc>>,
    workflow_id: Option<String>,
    node_id: Option<String>,
    execution_id: Option<String>,
}

impl BatchRow {
    /// Position in the batch.
    pub(super) fn index(&self) -> usize {
        usize::try_from(self.item - 1).expect("items count from 1")
    }

    /// The item has no answer yet; its next call will tell.
    pub(super) fn asks_again(&self) -> bool {
        matches!(self.outcome.as_str(), "again" | "chainChanged")
            || (self.outcome == "exhausted" && self.fallback)
    }

    pub(super) fn into_answer(self) -> Answer {
        let outcome = match self.outcome.as_str() {
            "assigned" => Outcome::Assigned,
            "replayed" => Outcome::Replayed,
            "alreadyAssigned" => Outcome::AlreadyAssigned,
            "refused" => {
                return Err(match (self.place(), self.assigned_at) {
                    (Some(place), Some(at)) => Refusal::Held(place, at),
                    _ => Refusal::Internal,
                });
            }
            "exhausted" => return Err(Refusal::Exhausted),
            "keyReused" => return Err(Refusal::KeyReused),
            "setNotFound" => return Err(Refusal::SetNotFound),
            "childNotFound" => return Err(Refusal::ChildNotFound),
            "childCycle" => return Err(Refusal::ChildCycle),
            "chainTooLong" => return Err(Refusal::ChainTooLong),
            _ => return Err(Refusal::Internal),
        };
        let (Some(place), Some(set), Some(code), Some(assigned_at)) =
            (self.place(), self.set_id, self.code, self.assigned_at)
        else {
            return Err(Refusal::Internal);
        };
        Ok(Served {
            outcome,
            place,
            set,
            code,
            assigned_at,
            workflow_id: self.workflow_id,
            node_id: self.node_id,
            execution_id: self.execution_id,
        })
    }

    fn place(&self) -> Option<Place> {
        Some(Place {
            set_no: self.set_no?,
            number: self.number?,
        })
    }
}

/// Answers a batch in one round trip and one commit. The whole reply is read before anything of it is used: rows arrive
/// before the commit.
pub(super) async fn assign_batch(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    chain: bool,
) -> sqlx::Result<Vec<BatchRow>> {
    sqlx::query_as!(
        BatchRow,
        r#"select item as "item!", outcome as "outcome!", fallback as "fallback!",
                  set_no, set_id, number, code, assigned_at, workflow_id, node_id, execution_id
             from assign_batch($1, $2, $3, $4, $5, $6, $7, $8, $9)"#,
        batch.target.tenant as TenantId,
        batch.target.set,
        batch.target.child as Option<Uuid>,
        chain,
        &batch.keys,
        &batch.contacts as &[&str],
        &batch.workflows as &[Option<&str>],
        &batch.nodes as &[Option<&str>],
        &batch.executions as &[Option<&str>]
    )
    .fetch_all(connection)
    .await
}

struct Row {
    set_no: i32,
    number: i64,
    code: String,
    set_id: Uuid,
    requested_set_id: Uuid,
    contact_id: String,
    assigned_at: DateTime<Utc>,
    workflow_id: Option<String>,
    node_id: Option<String>,
    execution_id: Option<String>,
}

impl From<Row> for Assignment {
    fn from(row: Row) -> Self {
        Self {
            id: id::encode(
                Place {
                    set_no: row.set_no,
                    number: row.number,
                },
                row.assigned_at,
            ),
            coupon_code: row.code,
            coupon_set_id: row.set_id,
            requested_coupon_set_id: row.requested_set_id,
            contact_id: row.contact_id,
            state: State::Assigned,
            assigned_at: row.assigned_at,
            workflow_id: row.workflow_id,
            node_id: row.node_id,
            execution_id: row.execution_id,
        }
    }
}

/// Reads the assignments at these places, in their order.
pub(super) async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    places: &[Place],
) -> sqlx::Result<Vec<Assignment>> {
    let set_nos: Vec<i32> = places.iter().map(|place| place.set_no).collect();
    let numbers: Vec<i64> = places.iter().map(|place| place.number).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select a.set_no, a.number, coalesce(card.code, served.code) as "code!", served.id as set_id,
                  requested.id as requested_set_id, contact.contact_id, a.assigned_at,
                  a.workflow_id, a.node_id, a.execution_id
             from unnest($2::integer[], $3::bigint[]) with ordinality as p (set_no, number, place)
             join assignments a on a.tenant_id = $1 and a.set_no = p.set_no and a.number = p.number
             join coupon_sets served on served.tenant_id = $1 and served.set_no = a.set_no
             join coupon_sets requested on requested.tenant_id = $1 and requested.set_no = a.requested_set_no
             join contacts contact on contact.tenant_id = $1 and contact.contact_no = a.contact_no
             left join cards card on card.tenant_id = $1 and card.set_no = a.set_no and card.lot_no = a.lot_no
                                 and card.ordinal = a.ordinal
            order by p.place"#,
        tenant as TenantId,
        &set_nos,
        &numbers
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Assignment::from).collect())
}
