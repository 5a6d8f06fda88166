-- Begins to remove the ledger of a set that was deleted more than `p_days` days ago, and returns true. Returns false, and
-- changes nothing, while anything still needs the ledger:
--
--   * an import, or a lot that is being cleaned up after one;
--   * a reservation, which ends or is confirmed;
--   * the roll-up of statistics, which stay when the ledger is gone;
--   * webhooks: events that were not turned into deliveries, and deliveries that wait and are built from an assignment. Those
--     of a disabled webhook do not count, or it would keep the ledger for ever. It follows no ledger while it is disabled;
--   * another set in whose place this one served, as a child: its retries by idempotency key, and what its policies let a
--     contact have, are read from the assignments here. It must have been deleted as long ago.
--
-- A request can change none of this afterwards: a deleted set assigns nothing, and this holds its lock, so that an event of an
-- assignment comes before, and is in the statistics, or after, and finds no assignment. The reports of its imports are hidden,
-- as their tenant could do; without them, nothing can be undone. The workers of imports delete their rows.
create or replace function begin_ledger_removal(p_tenant integer, p_set_no integer, p_days integer)
returns boolean
language plpgsql
as $$
declare
  v_before timestamptz := now() - make_interval(days => p_days);
  v_number bigint;
  v_others bigint;
begin
  perform 1
     from coupon_sets s
    where s.tenant_id = p_tenant and s.set_no = p_set_no and s.deleted_at < v_before and s.ledger_state = 'kept'
      for no key update;
  if not found
    or exists (
      select 1
        from imports i
       where i.tenant_id = p_tenant and i.set_no = p_set_no
         and (i.status in ('queued', 'inProgress') or i.needs_cleanup))
    or exists (
      select 1
        from lots l
       where l.tenant_id = p_tenant and l.set_no = p_set_no and l.state in ('filling', 'cancelled'))
    or exists (
      select 1
        from reservations r
       where r.tenant_id = p_tenant and r.set_no = p_set_no)
  then
    return false;
  end if;

  select t.number into v_number
    from statistics_tails t
   where t.tenant_id = p_tenant and t.set_no = p_set_no and t.rolled_up = t.number;
  if not found
    or exists (
      select 1
        from webhooks w
       where w.tenant_id = p_tenant and w.state = 'enabled'
         and (exists (
                select 1
                  from webhook_events e
                 where e.tenant_id = p_tenant and e.set_no = p_set_no)
              or v_number > coalesce((
                select c.number
                  from webhook_cursors c
                 where c.tenant_id = p_tenant and c.set_no = p_set_no), 0)
              or exists (
                select 1
                  from webhook_deliveries d
                 where d.tenant_id = p_tenant and d.webhook_no = w.webhook_no and d.state = 'waiting'
                   and d.set_no = p_set_no and d.payload is null)))
  then
    return false;
  end if;

  select m.for_others into v_others
    from statistics_checkpoints m
   where m.tenant_id = p_tenant and m.set_no = p_set_no
   order by m.bucket desc
   limit 1;
  if v_others > 0 and exists (
    select 1
      from assignments a
      join coupon_sets r on r.tenant_id = p_tenant and r.set_no = a.requested_set_no
     where a.tenant_id = p_tenant and a.set_no = p_set_no and a.requested_set_no <> p_set_no
       and (r.deleted_at < v_before) is not true)
  then
    return false;
  end if;

  update imports i
     set deleted_at = now(), needs_cleanup = true, idempotency_key = null
   where i.tenant_id = p_tenant and i.set_no = p_set_no and i.deleted_at is null;
  update coupon_sets s
     set ledger_state = 'removing'
   where s.tenant_id = p_tenant and s.set_no = p_set_no;
  return true;
end $$;
