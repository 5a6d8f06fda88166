-- Returns the deliveries that are due to an endpoint: at most `p_rows` new ones in their order, then at most `p_rows`
-- retries by their time. `assignment_number` is that of the assignment that a message without a payload describes.
--
-- The settings keep each lookup a probe of the index that has its order, whatever the statistics were when it was planned.
create or replace function due_deliveries(p_tenant integer, p_webhook_no integer, p_rows integer)
returns table (
  delivery_no bigint, id uuid, event_type text, occurred_at timestamptz, attempts integer, replayed_after integer,
  set_no integer, ledger_number bigint, assignment_number bigint, payload jsonb)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
    select d.delivery_no, d.id, d.event_type, d.occurred_at, d.attempts, d.replayed_after, d.set_no, d.ledger_number,
           coalesce(e.assignment_number, d.ledger_number), d.payload
      from webhook_deliveries d
      left join lateral (
        select e.assignment_number
          from ledger_entries e
         where d.payload is null
           and e.tenant_id = p_tenant and e.set_no = d.set_no and e.number between d.ledger_number and d.ledger_number
         order by e.number
         limit 1
      ) e on true
     where d.tenant_id = p_tenant and d.webhook_no = p_webhook_no and d.state = 'waiting' and d.attempts = 0
     order by d.delivery_no + 0
     limit p_rows;
  return query
    select d.delivery_no, d.id, d.event_type, d.occurred_at, d.attempts, d.replayed_after, d.set_no, d.ledger_number,
           coalesce(e.assignment_number, d.ledger_number), d.payload
      from webhook_deliveries d
      left join lateral (
        select e.assignment_number
          from ledger_entries e
         where d.payload is null
           and e.tenant_id = p_tenant and e.set_no = d.set_no and e.number between d.ledger_number and d.ledger_number
         order by e.number
         limit 1
      ) e on true
     where d.tenant_id = p_tenant and d.webhook_no = p_webhook_no and d.state = 'waiting' and d.attempts > 0
       and d.next_attempt_at <= now()
     order by d.next_attempt_at, d.delivery_no
     limit p_rows;
end $$;
