//! The call of `assign_plain`: plain requests for codes of many sets.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::batcher::RequestedSet;
use super::{AssignOutcome, AssignResult, Item};
use crate::assignments::AssignmentState;
use crate::batching::{DatabaseCall, KeyRequests, sql_integer};
use crate::database::call_with_literals;
use crate::ids::{AssignmentKey, TenantId};
use crate::witness::Record;

/// A call of `assign_plain`, with its sets and its items as columns.
pub(super) struct PlainCall<'a> {
    tenants: Vec<TenantId>,
    sets: Vec<Uuid>,
    /// Place of the first item of each set, from 1, and the number of its items.
    firsts: Vec<i32>,
    counts: Vec<i32>,
    /// For each item: the place of its set, and its own there, in the batch that was given.
    places: Vec<(usize, usize)>,
    /// For each item: whether its request has several.
    ordered: Vec<bool>,
    keys: Vec<Uuid>,
    contacts: Vec<&'a str>,
    workflows: Vec<Option<&'a str>>,
    nodes: Vec<Option<&'a str>>,
    executions: Vec<Option<&'a str>>,
    callers: Vec<Uuid>,
}

impl<'a> PlainCall<'a> {
    /// Leaves out items whose key or contact occurs before among those of their set, since their outcome depends on it.
    ///
    /// Of a request with several items, the first must be served first. Such a request may be a part of a larger one, so
    /// all of a set keep their order.
    pub(super) fn new(batch: &[KeyRequests<'a, RequestedSet, Item>]) -> Self {
        let mut call = Self {
            tenants: Vec::new(),
            sets: Vec::new(),
            firsts: Vec::new(),
            counts: Vec::new(),
            places: Vec::new(),
            ordered: Vec::new(),
            keys: Vec::new(),
            contacts: Vec::new(),
            workflows: Vec::new(),
            nodes: Vec::new(),
            executions: Vec::new(),
            callers: Vec::new(),
        };
        // In one order everywhere.
        let mut order: Vec<usize> = (0..batch.len()).collect();
        order.sort_unstable_by_key(|place| batch[*place].key);
        for place in order {
            call.add(batch[place].key, place, &batch[place].requests);
        }
        call
    }

    fn add(&mut self, set: RequestedSet, place: usize, requests: &[&'a [Item]]) {
        let first = self.keys.len();
        let is_alone = matches!(requests, [[_]]);
        let (mut keys, mut contacts) = (HashSet::new(), HashSet::new());
        let mut ends_at = 0;
        let mut is_interrupted = false;
        for items in requests {
            let starts_at = ends_at;
            ends_at += items.len();
            let is_ordered = items.len() > 1;
            for (index, item) in (starts_at..).zip(*items) {
                let is_new =
                    is_alone || keys.insert(item.key_hash) & contacts.insert(&item.contact_id);
                is_interrupted |= is_ordered && !is_new;
                if !is_new || is_ordered && is_interrupted {
                    continue;
                }
                self.places.push((place, index));
                self.ordered.push(is_ordered);
                self.keys.push(item.key_hash);
                self.contacts.push(&item.contact_id);
                self.workflows.push(item.workflow_id.as_deref());
                self.nodes.push(item.node_id.as_deref());
                self.executions.push(item.execution_id.as_deref());
                self.callers.push(item.caller);
            }
        }
        let count = self.keys.len() - first;
        if count == 0 {
            return;
        }
        self.tenants.push(set.tenant);
        self.sets.push(set.set);
        self.firsts.push(sql_integer(first + 1));
        self.counts.push(sql_integer(count));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the place of the set, and of the item among those of the set, in the batch that was given.
    pub(super) fn place(&self, row: &PlainRow) -> (usize, usize) {
        self.places[usize::try_from(row.item - 1).expect("items count from 1")]
    }
}

/// The row that `assign_plain` returns for an item that it has served.
#[derive(FromRow)]
pub(super) struct PlainRow {
    item: i32,
    set_no: i32,
    number: i64,
    import_id: Uuid,
    ordinal: i32,
    code: String,
    assigned_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    timezone: String,
    attributes: Option<Value>,
}

impl PlainRow {
    pub(super) fn set_no(&self) -> i32 {
        self.set_no
    }

    /// The record of a code that was requested from `set`. Codes that came back are not assigned here.
    pub(super) fn record(&self, set: RequestedSet) -> Record<&str> {
        Record {
            tenant: set.tenant.number(),
            set: set.set,
            import: Some(self.import_id),
            ordinal: self.ordinal,
            code: &self.code,
            at: self.assigned_at,
        }
    }

    pub(super) fn into_result(self, set: Uuid) -> AssignResult {
        AssignResult {
            outcome: AssignOutcome::Assigned,
            key: AssignmentKey {
                set_no: self.set_no,
                number: self.number,
            },
            set,
            // A merged contact is not plain.
            contact_id: None,
            code: self.code,
            assigned_at: self.assigned_at,
            state: AssignmentState::Assigned,
            reserved_until: None,
            expires_at: self.expires_at,
            timezone: self.timezone,
            workflow_id: None,
            node_id: None,
            execution_id: None,
            attributes: self.attributes,
        }
    }
}

impl DatabaseCall for PlainCall<'_> {
    const NAME: &'static str = "a batch of plain assignments";
    type Row = PlainRow;

    fn size(&self) -> usize {
        self.keys.len()
    }

    async fn call(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<PlainRow>> {
        sqlx::query_as!(
            PlainRow,
            r#"select item as "item!", set_no as "set_no!", number as "number!",
                      import_id as "import_id!", ordinal as "ordinal!", code as "code!",
                      assigned_at as "assigned_at!", expires_at, timezone as "timezone!", attributes
                 from assign_plain($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"#,
            &self.tenants as &[TenantId],
            &self.sets,
            &self.firsts,
            &self.counts,
            &self.ordered,
            &self.keys,
            &self.contacts as &[&str],
            &self.workflows as &[Option<&str>],
            &self.nodes as &[Option<&str>],
            &self.executions as &[Option<&str>],
            &self.callers
        )
        .fetch_all(connection)
        .await
    }

    fn with_literals(&self) -> String {
        call_with_literals(
            "select item, set_no, number, import_id, ordinal, code, assigned_at, expires_at, timezone, attributes from assign_plain",
            &[
                &self.tenants,
                &self.sets,
                &self.firsts,
                &self.counts,
                &self.ordered,
                &self.keys,
                &self.contacts,
                &self.workflows,
                &self.nodes,
                &self.executions,
                &self.callers,
            ],
        )
    }
}
