//! Statements that write rows past the API: more than requests could create in a test, and times in the past.

use std::fmt::Write;

use uuid::Uuid;

use super::TestApp;
use super::shop::CouponSet;

/// Options of an import of a pasted list.
const LIST_OPTIONS: &str = r#"{"delimiter": null, "header": null, "codeColumn": null}"#;

/// Tenants numbered from 1.
pub fn tenants(count: i64) -> String {
    format!(
        "insert into tenants (id, name)
         select gen_random_uuid(), 'shop ' || n from generate_series(1, {count}) n;"
    )
}

/// Default `on_repeat`, `same_code_until` and `assignments_per_contact` of a set.
pub const USUAL_POLICY: &str = "default, default, default";

/// A set with one lot, empty or as if it had `size` codes. Its id and its policy are expressions.
pub fn set_with_lot(tenant: i64, set_no: i64, id: &str, policy: &str, size: i64) -> String {
    format!(
        "insert into coupon_sets (
           tenant_id, set_no, id, name, name_key, type,
           on_repeat, same_code_until, assignments_per_contact)
         values ({tenant}, {set_no}, {id}, '{set_no}', '{set_no}', 'multiple', {policy});
         insert into lots (tenant_id, set_no, lot_no, import_id, size, state)
         values ({tenant}, {set_no}, 1, gen_random_uuid(), {size}, 'open');"
    )
}

/// `count` more codes in the first lot of each set.
pub fn more_cards(count: i64) -> String {
    format!(
        "insert into cards (tenant_id, set_no, lot_no, ordinal, line, code)
         select 1, l.set_no, 1, l.size + n, n, l.set_no || '-' || (l.size + n)
           from lots l, generate_series(1, {count}) n
          where l.lot_no = 1;
         update lots set size = size + {count}, state = 'open' where lot_no = 1;"
    )
}

/// A lot of `cards` codes in a set of the first tenant, the first `dealt` of them assigned to a contact each.
pub fn dealt_lot(set_no: i64, cards: i64, dealt: i64) -> String {
    format!(
        "insert into lots (tenant_id, set_no, lot_no, import_id, size, state)
         values (1, {set_no}, 1, gen_random_uuid(), {cards}, 'open');
         insert into cards (tenant_id, set_no, lot_no, ordinal, line, code)
         select 1, {set_no}, 1, n, n, '{set_no}-' || lpad(n::text, 9, '0')
           from generate_series(1, {cards}) n;
         insert into contacts (tenant_id, contact_id)
         select 1, '{set_no}-' || lpad(n::text, 9, '0')
           from generate_series(1, {dealt}) n;
         insert into assignments (
           tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, contact_seq, key_hash, assigned_at, workflow_id)
         select 1, {set_no}, n, {set_no}, 1, n, c.contact_no, 1, md5('{set_no}-' || n)::uuid, now(), 'w'
           from generate_series(1, {dealt}) n
           join contacts c on c.tenant_id = 1 and c.contact_id = '{set_no}-' || lpad(n::text, 9, '0');"
    )
}

/// Assignments of a tenant's first set with the numbers `from` to `to`, each with a code and a contact of its own.
pub fn assignments(tenant: i64, from: i64, to: i64) -> String {
    format!(
        "insert into contacts (tenant_id, contact_no, contact_id) overriding system value
         select {tenant}, n, 'contact ' || n from generate_series({from}, {to}) n;
         insert into cards (tenant_id, set_no, lot_no, ordinal, line, code)
         select {tenant}, 1, 1, n, n, 'CODE-' || n from generate_series({from}, {to}) n;
         insert into assignments (
           tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, contact_seq, key_hash, assigned_at)
         select {tenant}, 1, n, 1, 1, n, n, 1, gen_random_uuid(), clock_timestamp()
           from generate_series({from}, {to}) n;"
    )
}

/// Assignments of the first two sets that were reserved and confirmed, three numbers of the ledger for each.
pub fn confirmed_reservations(from: i64, count: i64) -> String {
    format!(
        "insert into assignments (
           tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, contact_seq, key_hash, assigned_at)
         select 1, s, 3 * n - 2, s, 1, n, n, 1, gen_random_uuid(), clock_timestamp()
           from generate_series(1, 2) s, generate_series({from}, {from} + {count} - 1) n;
         insert into ledger_entries (
           tenant_id, set_no, number, assignment_number, event, recorded_at, entries, reserved, released, void, sent, used)
         select 1, s, 3 * n - 2 + e.place, 3 * n - 2, e.event, clock_timestamp(), 2 * n - 2 + e.place, 0, 0, 0, 0, 0
           from generate_series(1, 2) s, generate_series({from}, {from} + {count} - 1) n,
                (values (1, 'reserved'), (2, 'confirmed')) e (place, event);"
    )
}

/// The history of a single set: one assignment five days ago, and `daily` on each of the four days since.
pub fn five_days(set: &CouponSet, daily: i32) -> String {
    format!(
        "insert into contacts (tenant_id, contact_id)
         select tenant_id, 'history of ' || id from coupon_sets where id = '{id}';
         insert into assignments (
           tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, contact_seq, key_hash, assigned_at)
         select s.tenant_id, s.set_no, n, s.set_no, 0, n, c.contact_no, n, gen_random_uuid(),
                date_trunc('day', now()) - make_interval(days => 5 - (n + {daily} - 2) / {daily})
           from coupon_sets s
           join contacts c on c.tenant_id = s.tenant_id and c.contact_id = 'history of ' || s.id
          cross join generate_series(1, 1 + 4 * {daily}) n
          where s.id = '{id}';",
        id = set.id
    )
}

/// Lets all reservations run out.
pub async fn lapse(app: &TestApp) {
    app.database
        .execute(
            "begin;
             update reservations set expires_at = now() - interval '1 second';
             update ledger_entries set expires_at = now() - interval '1 second' where event = 'reserved';
             commit",
        )
        .await;
}

/// Keeps the sweepers of this database from finding anything.
pub async fn hold_sweeper(app: &TestApp) {
    let statement = "revoke select on reservations from couponry_system";
    app.database.execute(statement).await;
}

/// An import of these chunks, one code per line, and its id. A running import has epoch 1 and an hour's lease.
pub fn import(set: &CouponSet, status: &str, chunks: &[&[&str]]) -> (Uuid, String) {
    let id = Uuid::now_v7();
    let total: usize = chunks.iter().map(|codes| codes.len()).sum();
    let mut sql = format!(
        "insert into imports (tenant_id, id, set_no, status, origin, options, total, chunks, epoch, lease_until)
         select tenant_id, '{id}', set_no, '{status}', 'api', '{LIST_OPTIONS}', {total}, {}, 1, now() + interval '1 hour'
           from coupon_sets where id = '{}';",
        chunks.len(),
        set.id
    );
    let mut stored = 0;
    for (chunk, codes) in chunks.iter().enumerate() {
        let lines: Vec<usize> = (stored + 1..=stored + codes.len()).collect();
        stored += codes.len();
        write!(
            sql,
            "insert into import_chunks (tenant_id, import_id, chunk, row_nos, lines, codes, size)
             select tenant_id, id, {chunk}, array{lines:?}, array{lines:?}, string_to_array('{}', ' '), {}
               from imports where id = '{id}';",
            codes.join(" "),
            codes.len()
        )
        .unwrap();
    }
    (id, sql)
}

/// A webhook of the tenant that an expression names; the statement returns its number. Messages sent to it never
/// arrive.
pub fn webhook(tenant: &str, types: &[&str]) -> String {
    format!(
        "insert into webhooks (tenant_id, webhook_no, id, url, event_types, secret)
         select t.tenant_id, coalesce((select max(w.webhook_no) from webhooks w where w.tenant_id = t.tenant_id), 0) + 1,
                gen_random_uuid(), 'https://127.0.0.1:9/', '{{{}}}', '\\x00'
           from tenants t
          where t.tenant_id = {tenant}
         returning webhook_no",
        types.join(",")
    )
}

/// Deliveries of a webhook with the numbers `from` to `to`, due at once, written as every writer must write them.
pub fn deliveries(webhook: &str, from: i64, to: i64) -> String {
    format!(
        "with hook as (
           select tenant_id, webhook_no
             from webhooks
            where id = '{webhook}'
         ), written as (
           insert into webhook_deliveries (tenant_id, webhook_no, id, event_type, occurred_at, next_attempt_at, payload)
           select h.tenant_id, h.webhook_no, gen_random_uuid(), 'import.finished', now(), now(),
                  jsonb_build_object('n', n)
             from hook h, generate_series({from}, {to}) n
            order by n
         )
         update webhooks w
            set next_due_at = least(w.next_due_at, now())
           from hook h
          where w.tenant_id = h.tenant_id and w.webhook_no = h.webhook_no"
    )
}

/// Makes deliveries that wait for their next attempt due now.
pub fn due_deliveries(webhook: &str) -> String {
    format!(
        "update webhook_deliveries d
            set next_attempt_at = now()
           from webhooks w
          where w.id = '{webhook}' and d.tenant_id = w.tenant_id and d.webhook_no = w.webhook_no and d.state = 'waiting';
         update webhooks
            set next_due_at = now()
          where id = '{webhook}'"
    )
}
