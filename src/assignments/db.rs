//! SQL of assignments.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::dealer::{Answer, Item, Target};
use super::id::{self, Place};
use super::queue::Call;
use super::rehearsal::Stage;
use super::{Assignment, Outcome, Refusal, Served, State};
use crate::coupon_sets::{ChainFault, OnRepeat};
use crate::tenants::TenantId;
use crate::text_enum::text_enum;

/// Items in columns, as the function takes them.
pub(super) struct Batch<'a> {
    target: Target,
    /// The children are asked too.
    chain: bool,
    /// Nothing is given unless every item can be.
    all: bool,
    keys: Vec<Uuid>,
    contacts: Vec<&'a str>,
    workflows: Vec<Option<&'a str>>,
    nodes: Vec<Option<&'a str>>,
    executions: Vec<Option<&'a str>>,
    reserves: Vec<Option<i32>>,
    callers: Vec<Uuid>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        target: Target,
        items: impl Iterator<Item = &'a Item>,
        chain: bool,
        all: bool,
    ) -> Self {
        let mut batch = Self {
            target,
            chain,
            all,
            keys: Vec::new(),
            contacts: Vec::new(),
            workflows: Vec::new(),
            nodes: Vec::new(),
            executions: Vec::new(),
            reserves: Vec::new(),
            callers: Vec::new(),
        };
        for item in items {
            batch.keys.push(item.key_hash);
            batch.contacts.push(&item.contact_id);
            batch.workflows.push(item.workflow_id.as_deref());
            batch.nodes.push(item.node_id.as_deref());
            batch.executions.push(item.execution_id.as_deref());
            batch.reserves.push(item.reserve_seconds);
            batch.callers.push(item.caller);
        }
        batch
    }

    /// `None` if no item reserves.
    fn reserves(&self) -> Option<&[Option<i32>]> {
        self.reserves
            .iter()
            .any(Option::is_some)
            .then_some(&self.reserves[..])
    }
}

text_enum! {
    /// The outcome of one item, as the function reports it.
    enum BatchOutcome {
        Assigned = "assigned",
        Replayed = "replayed",
        AlreadyAssigned = "alreadyAssigned",
        Refused = "refused",
        LimitReached = "limitReached",
        Ended = "ended",
        Exhausted = "exhausted",
        SetExpired = "setExpired",
        Withheld = "withheld",
        KeyReused = "keyReused",
        SetNotFound = "setNotFound",
        ChildNotFound = "childNotFound",
        ChildCycle = "childCycle",
        ChainTooLong = "chainTooLong",
        /// The call could not judge the item.
        Again = "again",
        /// The chain of child sets is another one than when its locks were taken.
        ChainChanged = "chainChanged",
    }
}

/// What the function answers for one item.
pub(super) struct BatchRow {
    item: i32,
    outcome: BatchOutcome,
    /// The set could not serve the item, but a child may.
    pub fallback: bool,
    set_no: Option<i32>,
    set_id: Option<Uuid>,
    number: Option<i64>,
    code: Option<String>,
    assigned_at: Option<DateTime<Utc>>,
    state: Option<State>,
    reserved_until: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    timezone: Option<String>,
    workflow_id: Option<String>,
    node_id: Option<String>,
    execution_id: Option<String>,
    attributes: Option<Value>,
    contact_id: Option<String>,
}

impl BatchRow {
    /// Position in the batch.
    pub(super) fn index(&self) -> usize {
        usize::try_from(self.item - 1).expect("items count from 1")
    }

    /// The item has no answer yet; its next call will tell.
    pub(super) fn asks_again(&self) -> bool {
        match self.outcome {
            BatchOutcome::Again | BatchOutcome::ChainChanged => true,
            BatchOutcome::Exhausted | BatchOutcome::SetExpired => self.fallback,
            _ => false,
        }
    }

    pub(super) fn into_answer(self) -> Answer {
        let outcome = match self.outcome {
            BatchOutcome::Assigned => Outcome::Assigned,
            BatchOutcome::Replayed => Outcome::Replayed,
            BatchOutcome::AlreadyAssigned => Outcome::AlreadyAssigned,
            BatchOutcome::Refused => return Err(Refusal::Held(self.id())),
            BatchOutcome::LimitReached => return Err(Refusal::LimitReached),
            BatchOutcome::Ended => {
                return Err(match (self.id(), self.state) {
                    (Some(id), Some(state)) => Refusal::Ended(id, state),
                    _ => Refusal::Internal,
                });
            }
            BatchOutcome::Exhausted => return Err(Refusal::Exhausted),
            BatchOutcome::SetExpired => return Err(Refusal::SetExpired),
            BatchOutcome::Withheld => return Err(Refusal::Withheld),
            BatchOutcome::KeyReused => return Err(Refusal::KeyReused),
            BatchOutcome::SetNotFound => return Err(Refusal::SetNotFound),
            BatchOutcome::ChildNotFound => return Err(Refusal::Chain(ChainFault::ChildNotFound)),
            BatchOutcome::ChildCycle => return Err(Refusal::Chain(ChainFault::ChildCycle)),
            BatchOutcome::ChainTooLong => return Err(Refusal::Chain(ChainFault::ChainTooLong)),
            BatchOutcome::Again | BatchOutcome::ChainChanged => return Err(Refusal::Internal),
        };
        let (Some(place), Some(state)) = (self.place(), self.state) else {
            return Err(Refusal::Internal);
        };
        let (Some(set), Some(code), Some(assigned_at), Some(timezone)) =
            (self.set_id, self.code, self.assigned_at, self.timezone)
        else {
            return Err(Refusal::Internal);
        };
        Ok(Served {
            outcome,
            place,
            set,
            contact_id: self.contact_id,
            code,
            assigned_at,
            state,
            reserved_until: self.reserved_until,
            expires_at: self.expires_at,
            timezone,
            workflow_id: self.workflow_id,
            node_id: self.node_id,
            execution_id: self.execution_id,
            attributes: self.attributes,
        })
    }

    fn place(&self) -> Option<Place> {
        Some(Place {
            set_no: self.set_no?,
            number: self.number?,
        })
    }

    fn id(&self) -> Option<Uuid> {
        Some(id::encode(self.place()?, self.assigned_at?))
    }
}

/// One round trip and one commit. The whole reply is read before anything of it is used: rows arrive before the commit.
impl Call for Batch<'_> {
    const NAME: &'static str = "a batch of assignments";
    type Row = BatchRow;

    fn size(&self) -> usize {
        self.keys.len()
    }

    async fn call(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<BatchRow>> {
        sqlx::query_as!(
            BatchRow,
            r#"select item as "item!", outcome as "outcome!: BatchOutcome", fallback as "fallback!",
                      set_no, set_id, number, code, assigned_at, state as "state: State", reserved_until, expires_at, timezone,
                      workflow_id, node_id, execution_id, attributes, contact_id
                 from assign_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"#,
            self.target.tenant as TenantId,
            self.target.set,
            self.target.child as Option<Uuid>,
            self.chain,
            self.all,
            &self.keys,
            &self.contacts as &[&str],
            &self.workflows as &[Option<&str>],
            &self.nodes as &[Option<&str>],
            &self.executions as &[Option<&str>],
            self.reserves() as Option<&[Option<i32>]>,
            &self.callers
        )
        .fetch_all(connection)
        .await
    }
}

/// Finds what a rehearsal needs to know.
pub(super) async fn find_stage(
    connection: &mut PgConnection,
    target: Target,
) -> sqlx::Result<Option<Stage>> {
    sqlx::query_as!(
        Stage,
        r#"select s.on_repeat as "on_repeat: OnRepeat", s.timezone, c.fault as "fault: ChainFault"
             from coupon_sets s
            cross join lateral coupon_set_chain(s.tenant_id, s.set_no, $3) c
            where s.tenant_id = $1 and s.id = $2 and s.deleted_at is null"#,
        target.tenant as TenantId,
        target.set,
        target.child as Option<Uuid>
    )
    .fetch_optional(connection)
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
    state: State,
    reserved_until: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    timezone: String,
    workflow_id: Option<String>,
    node_id: Option<String>,
    execution_id: Option<String>,
    attributes: Option<Value>,
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
            state: row.state,
            assigned_at: row.assigned_at,
            // A reservation that has run out is no longer reserved.
            reserved_until: row.reserved_until.filter(|_| row.state == State::Reserved),
            expires_at: row.expires_at,
            timezone: row.timezone,
            workflow_id: row.workflow_id,
            node_id: row.node_id,
            execution_id: row.execution_id,
            attributes: row.attributes,
        }
    }
}

/// Reads the assignments at these places, in their order.
pub(crate) async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    places: &[Place],
) -> sqlx::Result<Vec<Assignment>> {
    let set_nos: Vec<i32> = places.iter().map(|place| place.set_no).collect();
    let numbers: Vec<i64> = places.iter().map(|place| place.number).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select set_no as "set_no!", number as "number!", code as "code!", set_id as "set_id!",
                  requested_set_id as "requested_set_id!", contact_id as "contact_id!",
                  assigned_at as "assigned_at!", state as "state!: State", reserved_until, expires_at,
                  timezone as "timezone!", workflow_id, node_id, execution_id, attributes
             from assignments_at($1, $2, $3)
            order by place"#,
        tenant as TenantId,
        &set_nos,
        &numbers
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Assignment::from).collect())
}
