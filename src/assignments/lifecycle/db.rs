//! SQL of the events of assignments, which are ledger entries.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{LedgerEntry, LedgerEvent, NewEvent, RecordError, RecordOutcome, RecordReply};
use crate::assignments::AssignmentState;
use crate::batching::{BatchError, DatabaseCall, sql_integer};
use crate::database::call_with_literals;
use crate::ids::{AssignmentKey, SetKey, TenantId};
use crate::text_enum::text_enum;

/// A call of `record_events`, with its events as columns. Each event must be of a different assignment.
pub(super) struct RecordCall<'a> {
    tenants: Vec<TenantId>,
    set_nos: Vec<i32>,
    /// Place of the first event of each set, from 1, and the number of its events.
    firsts: Vec<i32>,
    counts: Vec<i32>,
    /// Waits for the lock of the only set.
    wait: bool,
    numbers: Vec<i64>,
    millis: Vec<i64>,
    events: Vec<LedgerEvent>,
    occurred: Vec<Option<DateTime<Utc>>>,
    callers: Vec<Uuid>,
    reasons: Vec<Option<&'a str>>,
}

impl<'a> RecordCall<'a> {
    /// A call for one set, which waits for its lock.
    pub(super) fn of_set(set: SetKey, events: impl Iterator<Item = &'a NewEvent>) -> Self {
        let mut call = Self::new();
        call.wait = true;
        call.add(set, events);
        call
    }

    /// A call for many sets, which skips those that are locked.
    pub(super) fn new() -> Self {
        Self {
            tenants: Vec::new(),
            set_nos: Vec::new(),
            firsts: Vec::new(),
            counts: Vec::new(),
            wait: false,
            numbers: Vec::new(),
            millis: Vec::new(),
            events: Vec::new(),
            occurred: Vec::new(),
            callers: Vec::new(),
            reasons: Vec::new(),
        }
    }

    /// Adds the events of a set.
    pub(super) fn add(&mut self, set: SetKey, events: impl Iterator<Item = &'a NewEvent>) {
        let first = self.numbers.len();
        for event in events {
            self.numbers.push(event.number);
            self.millis.push(event.id_millis);
            self.events.push(event.event.ledger_event());
            self.occurred.push(event.occurred_at);
            self.callers.push(event.caller);
            self.reasons.push(event.reason.as_deref());
        }
        self.tenants.push(set.tenant);
        self.set_nos.push(set.set_no);
        self.firsts.push(sql_integer(first + 1));
        self.counts.push(sql_integer(self.numbers.len() - first));
    }
}

text_enum! {
    /// The outcome of one event, as `record_events` returns it.
    enum EventOutcome {
        Recorded = "recorded",
        Repeated = "repeated",
        WrongState = "wrongState",
        NotFound = "notFound",
    }
}

/// The row that `record_events` returns for one event.
#[derive(FromRow)]
pub(super) struct EventRow {
    item: i32,
    outcome: EventOutcome,
    state: Option<AssignmentState>,
}

impl EventRow {
    /// Returns the index of the event in the call.
    pub(super) fn index(&self) -> usize {
        usize::try_from(self.item - 1).expect("items count from 1")
    }

    pub(super) fn into_reply(self) -> RecordReply {
        match (self.outcome, self.state) {
            (EventOutcome::Recorded, Some(state)) => Ok((RecordOutcome::Recorded, state)),
            (EventOutcome::Repeated, Some(state)) => Ok((RecordOutcome::Repeated, state)),
            (EventOutcome::WrongState, Some(state)) => Err(RecordError::WrongState(state)),
            (EventOutcome::NotFound, _) => Err(RecordError::NotFound),
            (_, None) => Err(RecordError::NotRecorded(BatchError::Failed)),
        }
    }
}

impl DatabaseCall for RecordCall<'_> {
    const NAME: &'static str = "a batch of events";
    type Row = EventRow;

    fn size(&self) -> usize {
        self.numbers.len()
    }

    async fn call(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<EventRow>> {
        sqlx::query_as!(
            EventRow,
            r#"select item as "item!", outcome as "outcome!: EventOutcome", state as "state: AssignmentState"
                 from record_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"#,
            &self.tenants as &[TenantId],
            &self.set_nos,
            &self.firsts,
            &self.counts,
            self.wait,
            &self.numbers,
            &self.millis,
            &self.events as &[LedgerEvent],
            &self.occurred as &[Option<DateTime<Utc>>],
            &self.callers,
            &self.reasons as &[Option<&str>]
        )
        .fetch_all(connection)
        .await
    }

    fn with_literals(&self) -> String {
        let events: Vec<&str> = self.events.iter().map(|event| event.as_str()).collect();
        call_with_literals(
            "select item, outcome, state from record_events",
            &[
                &self.tenants,
                &self.set_nos,
                &self.firsts,
                &self.counts,
                &self.wait,
                &self.numbers,
                &self.millis,
                &events,
                &self.occurred,
                &self.callers,
                &self.reasons,
            ],
        )
    }
}

/// Finds sets of all tenants with expired reservations, from at most 10,000 of these reservations.
pub(super) async fn find_due_sets(connection: &mut PgConnection) -> sqlx::Result<Vec<SetKey>> {
    sqlx::query_as!(
        SetKey,
        r#"select distinct d.tenant_id as "tenant: TenantId", d.set_no
             from (
               select r.tenant_id, r.set_no
                 from reservations r
                where r.expires_at <= now()
                order by r.expires_at
                limit 10000
             ) d"#
    )
    .fetch_all(connection)
    .await
}

/// Ends expired reservations of a set, at most 1,000, and returns their number.
pub(super) async fn sweep_reservations(
    connection: &mut PgConnection,
    set: SetKey,
) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        r#"select sweep_reservations($1, $2) as "count!""#,
        set.tenant as TenantId,
        set.set_no
    )
    .fetch_one(connection)
    .await
}

/// Reads the events of these assignments in order: the assignment itself, unless it began as a reservation, and its ledger
/// entries.
pub(super) async fn list_entries(
    connection: &mut PgConnection,
    tenant: TenantId,
    keys: &[AssignmentKey],
) -> sqlx::Result<HashMap<AssignmentKey, Vec<LedgerEntry>>> {
    let set_nos: Vec<i32> = keys.iter().map(|key| key.set_no).collect();
    let numbers: Vec<i64> = keys.iter().map(|key| key.number).collect();
    // Each `order by` matches only the right index, so the planner chooses it even without statistics. An assignment has at
    // most one entry for each of the four stages.
    let rows = sqlx::query!(
        r#"select p.set_no as "set_no!", p.number as "number!", e.event as "event!: LedgerEvent",
                  e.recorded_at as "recorded_at!", e.occurred_at, e.key_id, e.reason
             from unnest($2::integer[], $3::bigint[]) as p (set_no, number)
            cross join lateral (
              (select a.number, 'assigned' as event, a.assigned_at as recorded_at, null::timestamptz as occurred_at,
                      a.key_id, null::text as reason
                 from assignments a
                where a.tenant_id = $1 and a.set_no = p.set_no and a.number between p.number and p.number
                  and not exists (
                    select 1
                      from ledger_entries r
                     where r.tenant_id = $1 and r.set_no = p.set_no and r.assignment_number = p.number
                       and r.event = 'reserved')
                order by a.number
                limit 1)
              union all
              (select l.number, l.event, l.recorded_at, l.occurred_at, l.key_id, l.reason
                 from ledger_entries l
                where l.tenant_id = $1 and l.set_no = p.set_no and l.assignment_number = p.number
                order by l.stage
                limit 4)
            ) e
            order by p.set_no, p.number, e.number"#,
        tenant as TenantId,
        &set_nos,
        &numbers
    )
    .fetch_all(connection)
    .await?;
    let mut entries: HashMap<AssignmentKey, Vec<LedgerEntry>> = HashMap::new();
    for row in rows {
        let (set_no, number) = (row.set_no, row.number);
        entries
            .entry(AssignmentKey { set_no, number })
            .or_default()
            .push(LedgerEntry {
                event: row.event,
                recorded_at: row.recorded_at,
                occurred_at: row.occurred_at,
                api_key_id: row.key_id,
                reason: row.reason,
            });
    }
    Ok(entries)
}

/// The latest assignment of a code of a set.
pub(super) struct CodeMatch {
    /// The set is of type `single`: its code has many assignments, so `number` is `None`.
    pub is_single: bool,
    pub set_no: i32,
    pub number: Option<i64>,
    pub assigned_at: Option<DateTime<Utc>>,
}

/// Finds the latest assignment of each code, in the order of the codes. `None` if the set does not exist.
pub(super) async fn find_by_codes(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &[Uuid],
    codes: &[&str],
) -> sqlx::Result<Vec<Option<CodeMatch>>> {
    let rows = sqlx::query!(
        r#"select q.place as "place!", s.set_no, s.type = 'single' as "is_single!", found.number as "number?",
                  found.assigned_at as "assigned_at?"
             from unnest($2::uuid[], $3::text[]) with ordinality as q (set_id, code, place)
             join coupon_sets s on s.tenant_id = $1 and s.id = q.set_id
             left join lateral (
               select a.number, a.assigned_at
                 from cards c
                cross join lateral (
                  select a.number, a.assigned_at
                    from assignments a
                   where a.tenant_id = $1 and a.set_no = c.set_no and a.lot_no = c.lot_no
                     and a.ordinal between c.ordinal and c.ordinal
                   order by a.lot_no, a.ordinal
                   limit 1
                ) a
                where c.tenant_id = $1 and c.code = q.code and c.set_no = s.set_no
                order by c.occurrence desc
                limit 1
             ) found on true"#,
        tenant as TenantId,
        sets,
        codes as &[&str]
    )
    .fetch_all(connection)
    .await?;
    let mut matches: Vec<Option<CodeMatch>> = codes.iter().map(|_| None).collect();
    for row in rows {
        let index = usize::try_from(row.place - 1).expect("places count from 1");
        matches[index] = Some(CodeMatch {
            is_single: row.is_single,
            set_no: row.set_no,
            number: row.number,
            assigned_at: row.assigned_at,
        });
    }
    Ok(matches)
}
