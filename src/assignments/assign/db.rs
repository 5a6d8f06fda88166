//! SQL of requests for codes.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{AssignError, AssignOutcome, AssignReply, AssignResult, DryRunContext, Item, Target};
use crate::assignments::{AssignmentState, id};
use crate::batching::{Atomicity, BatchError, DatabaseCall};
use crate::coupon_sets::{ChainFault, OnRepeat};
use crate::database::{Database, call_with_literals};
use crate::ids::{AssignmentKey, TenantId};
use crate::text_enum::text_enum;
use crate::witness::{Record, Witness};

/// A call of `assign_batch`, with its items as columns.
pub(super) struct AssignCall<'a> {
    target: Target,
    /// Includes the child sets.
    chain: bool,
    /// Assigns nothing unless every item can be served.
    all: bool,
    keys: Vec<Uuid>,
    contacts: Vec<&'a str>,
    workflows: Vec<Option<&'a str>>,
    nodes: Vec<Option<&'a str>>,
    executions: Vec<Option<&'a str>>,
    reserves: Vec<Option<i32>>,
    callers: Vec<Uuid>,
    witness: &'a Witness,
}

impl<'a> AssignCall<'a> {
    pub(super) fn new(
        target: Target,
        items: impl Iterator<Item = &'a Item>,
        chain: bool,
        atomicity: Atomicity,
        witness: &'a Witness,
    ) -> Self {
        let mut batch = Self {
            target,
            chain,
            all: atomicity == Atomicity::AllOrNothing,
            keys: Vec::new(),
            contacts: Vec::new(),
            workflows: Vec::new(),
            nodes: Vec::new(),
            executions: Vec::new(),
            reserves: Vec::new(),
            callers: Vec::new(),
            witness,
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

    /// Returns the reservation times, or `None` if no item reserves.
    fn reserves(&self) -> Option<&[Option<i32>]> {
        self.reserves
            .iter()
            .any(Option::is_some)
            .then_some(&self.reserves[..])
    }
}

text_enum! {
    /// The outcome of one item: the labels of the type `assign_outcome`, which `assign_batch` returns.
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
        /// The item depends on another item of the batch and must be retried.
        Again = "again",
        /// The chain of child sets changed before its locks were acquired.
        ChainChanged = "chainChanged",
    }
}

/// The row that `assign_batch` returns for one item.
#[derive(FromRow)]
pub(super) struct BatchRow {
    item: i32,
    outcome: BatchOutcome,
    /// The set could not serve the item, but a child set may.
    pub fallback: bool,
    set_no: Option<i32>,
    set_id: Option<Uuid>,
    number: Option<i64>,
    code: Option<String>,
    assigned_at: Option<DateTime<Utc>>,
    state: Option<AssignmentState>,
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
    /// Returns the index of the item in the call.
    pub(super) fn index(&self) -> usize {
        usize::try_from(self.item - 1).expect("items count from 1")
    }

    /// Returns true if the item has no final outcome and must be sent again.
    pub(super) fn must_retry(&self) -> bool {
        match self.outcome {
            BatchOutcome::Again | BatchOutcome::ChainChanged => true,
            BatchOutcome::Exhausted | BatchOutcome::SetExpired => self.fallback,
            _ => false,
        }
    }

    pub(super) fn into_reply(self) -> AssignReply {
        let outcome = match self.outcome {
            BatchOutcome::Assigned => AssignOutcome::Assigned,
            BatchOutcome::Replayed => AssignOutcome::Replayed,
            BatchOutcome::AlreadyAssigned => AssignOutcome::AlreadyAssigned,
            BatchOutcome::Refused => return Err(AssignError::Held(self.id())),
            BatchOutcome::LimitReached => return Err(AssignError::LimitReached),
            BatchOutcome::Ended => {
                return Err(match (self.id(), self.state) {
                    (Some(id), Some(state)) => AssignError::Ended(id, state),
                    _ => BatchError::Failed.into(),
                });
            }
            BatchOutcome::Exhausted => return Err(AssignError::Exhausted),
            BatchOutcome::SetExpired => return Err(AssignError::SetExpired),
            BatchOutcome::Withheld => return Err(AssignError::Withheld),
            BatchOutcome::KeyReused => return Err(AssignError::KeyReused),
            BatchOutcome::SetNotFound => return Err(AssignError::SetNotFound),
            BatchOutcome::ChildNotFound => {
                return Err(AssignError::Chain(ChainFault::ChildNotFound));
            }
            BatchOutcome::ChildCycle => return Err(AssignError::Chain(ChainFault::ChildCycle)),
            BatchOutcome::ChainTooLong => return Err(AssignError::Chain(ChainFault::ChainTooLong)),
            BatchOutcome::Again | BatchOutcome::ChainChanged => {
                return Err(BatchError::Failed.into());
            }
        };
        let (Some(key), Some(state)) = (self.key(), self.state) else {
            return Err(BatchError::Failed.into());
        };
        let (Some(set), Some(code), Some(assigned_at), Some(timezone)) =
            (self.set_id, self.code, self.assigned_at, self.timezone)
        else {
            return Err(BatchError::Failed.into());
        };
        Ok(AssignResult {
            outcome,
            key,
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

    fn key(&self) -> Option<AssignmentKey> {
        Some(AssignmentKey {
            set_no: self.set_no?,
            number: self.number?,
        })
    }

    fn id(&self) -> Option<Uuid> {
        Some(id::encode(self.key()?, self.assigned_at?))
    }
}

impl DatabaseCall for AssignCall<'_> {
    const NAME: &'static str = "a batch of assignments";
    type Row = BatchRow;

    fn size(&self) -> usize {
        self.keys.len()
    }

    async fn call(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<BatchRow>> {
        sqlx::query_as!(
            BatchRow,
            r#"select item as "item!", outcome::text as "outcome!: BatchOutcome", fallback as "fallback!",
                      set_no, set_id, number, code, assigned_at, state as "state: AssignmentState", reserved_until, expires_at, timezone,
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

    fn with_literals(&self) -> String {
        call_with_literals(
            "select item, outcome::text as outcome, fallback, set_no, set_id, number, code, assigned_at, state, reserved_until,
                    expires_at, timezone, workflow_id, node_id, execution_id, attributes, contact_id
               from assign_batch",
            &[
                &self.target.tenant,
                &self.target.set,
                &self.target.child,
                &self.chain,
                &self.all,
                &self.keys,
                &self.contacts,
                &self.workflows,
                &self.nodes,
                &self.executions,
                &self.reserves(),
                &self.callers,
            ],
        )
    }

    /// Records the codes, in another round trip if there is a witness.
    async fn complete(
        &self,
        database: &Database,
        connection: &mut PgConnection,
        rows: &[BatchRow],
    ) -> sqlx::Result<()> {
        if !self.witness.is_enabled() {
            return Ok(());
        }
        let record = async |connection: &mut PgConnection| {
            record(connection, self.target.tenant, rows, self.witness).await
        };
        database.call_on(connection, record).await
    }
}

/// Records the codes of the rows, those of earlier assignments too: the replica that made one may have ended before it could
/// record it.
async fn record(
    connection: &mut PgConnection,
    tenant: TenantId,
    rows: &[BatchRow],
    witness: &Witness,
) -> sqlx::Result<()> {
    let coded = rows.iter().filter(|row| row.code.is_some());
    let (set_nos, numbers): (Vec<_>, Vec<_>) = coded
        .clone()
        .filter_map(|row| Some((row.set_no?, row.number?)))
        .unzip();
    if numbers.is_empty() {
        return Ok(());
    }
    let cards = sqlx::query!(
        r#"select set_no as "set_no!", number as "number!", import_id, ordinal as "ordinal!"
             from assigned_cards($1, $2, $3)"#,
        tenant as TenantId,
        &set_nos,
        &numbers
    )
    .fetch_all(connection)
    .await?;
    let cards: HashMap<_, _> = cards
        .iter()
        .map(|card| ((card.set_no, card.number), card))
        .collect();
    witness.record(coded.filter_map(|row| {
        let card = cards.get(&(row.set_no?, row.number?))?;
        Some(Record {
            tenant: tenant.number(),
            set: row.set_id?,
            import: card.import_id,
            ordinal: card.ordinal,
            code: row.code.as_deref()?,
            at: row.assigned_at?,
        })
    }));
    Ok(())
}

/// Reads the context of a dry run. Returns `None` if the set does not exist.
pub(super) async fn find_dry_run_context(
    connection: &mut PgConnection,
    target: Target,
) -> sqlx::Result<Option<DryRunContext>> {
    sqlx::query_as!(
        DryRunContext,
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

#[cfg(test)]
mod tests {
    use super::BatchOutcome;
    use crate::text_enum::TextEnum;

    #[test]
    fn the_outcomes_are_the_labels_of_their_type() {
        let schema = include_str!("../../../migrations/0006_assignments.sql");
        let (_, rest) = schema
            .split_once("create type assign_outcome as enum (")
            .expect("the type");
        let (labels, _) = rest.split_once(')').expect("its end");
        let labels: Vec<&str> = labels
            .split(',')
            .map(|label| label.trim().trim_matches('\''))
            .collect();
        assert_eq!(labels, BatchOutcome::NAMES);
    }
}
