//! SQL of the ledger: the events of assignments.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Answer, Entry, LedgerEvent, NewEvent, RecordError, RecordOutcome};
use crate::assignments::State;
use crate::batching::{BatchError, DatabaseCall};
use crate::ids::{AssignmentKey, SetKey, TenantId};
use crate::text_enum::text_enum;

/// Events in columns, as the function takes them.
pub(super) struct EventBatch<'a> {
    set: SetKey,
    numbers: Vec<i64>,
    millis: Vec<i64>,
    events: Vec<LedgerEvent>,
    occurred: Vec<Option<DateTime<Utc>>>,
    callers: Vec<Uuid>,
    reasons: Vec<Option<&'a str>>,
}

impl<'a> EventBatch<'a> {
    pub(super) fn new(set: SetKey, events: impl Iterator<Item = &'a NewEvent>) -> Self {
        let mut columns = Self {
            set,
            numbers: Vec::new(),
            millis: Vec::new(),
            events: Vec::new(),
            occurred: Vec::new(),
            callers: Vec::new(),
            reasons: Vec::new(),
        };
        for event in events {
            columns.numbers.push(event.number);
            columns.millis.push(event.millis);
            columns.events.push(event.event.recorded());
            columns.occurred.push(event.occurred_at);
            columns.callers.push(event.caller);
            columns.reasons.push(event.reason.as_deref());
        }
        columns
    }
}

text_enum! {
    /// The outcome of one event, as the function reports it.
    enum EventOutcome {
        Recorded = "recorded",
        Repeated = "repeated",
        WrongState = "wrongState",
        NotFound = "notFound",
    }
}

/// The answer of the function to one event.
pub(super) struct EventRow {
    item: i32,
    outcome: EventOutcome,
    state: Option<State>,
}

impl EventRow {
    /// Position in the call.
    pub(super) fn index(&self) -> usize {
        usize::try_from(self.item - 1).expect("items count from 1")
    }

    pub(super) fn into_answer(self) -> Answer {
        match (self.outcome, self.state) {
            (EventOutcome::Recorded, Some(state)) => Ok((RecordOutcome::Recorded, state)),
            (EventOutcome::Repeated, Some(state)) => Ok((RecordOutcome::Repeated, state)),
            (EventOutcome::WrongState, Some(state)) => Err(RecordError::WrongState(state)),
            (EventOutcome::NotFound, _) => Err(RecordError::NotFound),
            (_, None) => Err(RecordError::NotRecorded(BatchError::Failed)),
        }
    }
}

/// The events are of different assignments. One round trip and one commit, as for a batch.
impl DatabaseCall for EventBatch<'_> {
    const NAME: &'static str = "a batch of events";
    type Row = EventRow;

    fn size(&self) -> usize {
        self.numbers.len()
    }

    async fn call(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<EventRow>> {
        sqlx::query_as!(
            EventRow,
            r#"select item as "item!", outcome as "outcome!: EventOutcome", state as "state: State"
                 from record_events($1, $2, $3, $4, $5, $6, $7, $8)"#,
            self.set.tenant as TenantId,
            self.set.set_no,
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
}

/// Finds sets with reservations that have run out, of all tenants, some at a time.
pub(super) async fn due_sets(pool: &PgPool) -> sqlx::Result<Vec<SetKey>> {
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
    .fetch_all(pool)
    .await
}

/// Ends reservations of a set that have run out, and returns how many.
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

/// What happened to the assignments at these places: how each began, and what the ledger says after that, in order.
pub(super) async fn list_entries(
    connection: &mut PgConnection,
    tenant: TenantId,
    places: &[AssignmentKey],
) -> sqlx::Result<HashMap<AssignmentKey, Vec<Entry>>> {
    let set_nos: Vec<i32> = places.iter().map(|place| place.set_no).collect();
    let numbers: Vec<i64> = places.iter().map(|place| place.number).collect();
    // In these orders only the right index has them, also before any statistics. An assignment takes each of four steps
    // once.
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
    let mut entries: HashMap<AssignmentKey, Vec<Entry>> = HashMap::new();
    for row in rows {
        let (set_no, number) = (row.set_no, row.number);
        entries
            .entry(AssignmentKey { set_no, number })
            .or_default()
            .push(Entry {
                event: row.event,
                recorded_at: row.recorded_at,
                occurred_at: row.occurred_at,
                api_key_id: row.key_id,
                reason: row.reason,
            });
    }
    Ok(entries)
}

/// Where an assignment is that a code of a set leads to.
pub(super) struct CodePlace {
    /// `single` sets give their code to many.
    pub is_single: bool,
    pub set_no: i32,
    pub number: Option<i64>,
    pub assigned_at: Option<DateTime<Utc>>,
}

/// Finds the latest assignment of each code, in the order of the codes; `None` where there is no such set.
pub(super) async fn find_by_codes(
    connection: &mut PgConnection,
    tenant: TenantId,
    sets: &[Uuid],
    codes: &[&str],
) -> sqlx::Result<Vec<Option<CodePlace>>> {
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
    let mut places: Vec<Option<CodePlace>> = codes.iter().map(|_| None).collect();
    for row in rows {
        let index = usize::try_from(row.place - 1).expect("places count from 1");
        places[index] = Some(CodePlace {
            is_single: row.is_single,
            set_no: row.set_no,
            number: row.number,
            assigned_at: row.assigned_at,
        });
    }
    Ok(places)
}
