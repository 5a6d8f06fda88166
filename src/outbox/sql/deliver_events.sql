-- Phase of publish_ledger: writes the deliveries for the ledger numbers after `p_after` up to `p_upto` of a set, and for the
-- events `p_event_nos` that wait beside it up to there, which it removes. `p_assigned`: some endpoint takes assignments.
-- Returns the endpoints that got something, and whether a refill was among the events.
create or replace function deliver_events(
  p_tenant integer, p_set_no integer, p_after bigint, p_upto bigint, p_event_nos bigint[], p_assigned boolean,
  out webhook_nos integer[], out refilled boolean)
language plpgsql
as $$
begin
  with taken as (
    delete from webhook_events e
     where e.tenant_id = p_tenant and e.set_no = p_set_no and e.event_no = any (p_event_nos) and e.number <= p_upto
    returning e.event_no, e.number, e.event_type, e.occurred_at, e.payload
  ), happened as (
    select a.number, 0::bigint as event_no, 'coupon.assigned' as event_type, a.assigned_at as occurred_at,
           null::jsonb as payload
      from assignments a
      left join lateral (
        select e.number
          from ledger_entries e
         where e.tenant_id = p_tenant and e.set_no = p_set_no and e.assignment_number = a.number
           and e.stage between 0 and 0
         order by e.stage
         limit 1
      ) reserved on true
     where p_assigned and a.tenant_id = p_tenant and a.set_no = p_set_no
       and a.number > p_after and a.number <= p_upto
       and reserved.number is null
    union all
    select e.number, 0, 'coupon.assigned', e.recorded_at, null
      from ledger_entries e
     where p_assigned and e.tenant_id = p_tenant and e.set_no = p_set_no
       and e.number > p_after and e.number <= p_upto
       and e.event = 'confirmed'
    union all
    -- An event that was written without the set's lock may come a little late; it gets the number of its place here.
    select greatest(t.number, p_after), t.event_no, t.event_type, t.occurred_at, t.payload
      from taken t
  ), named as materialized (
    select h.*, event_id() as id
      from happened h
  ), delivered as (
    insert into webhook_deliveries (
      tenant_id, webhook_no, id, event_type, set_no, ledger_number, occurred_at, next_attempt_at, payload)
    select p_tenant, w.webhook_no, n.id, n.event_type, p_set_no, n.number, n.occurred_at, now(), n.payload
      from named n
      join webhooks w
        on w.tenant_id = p_tenant and w.state = 'enabled' and n.event_type = any (w.event_types)
           and n.occurred_at >= w.enabled_at
     order by n.number, n.event_no, w.webhook_no
    returning webhook_no
  )
  select array(select distinct d.webhook_no from delivered d),
         exists (select 1 from taken t where t.event_type = 'coupon-set.refilled')
    into webhook_nos, refilled;
end $$;
