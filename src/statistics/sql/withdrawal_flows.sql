-- The part of `ledger_flows` that comes from cards that were withdrawn by name: each takes a code from those that lie expired.
-- Codes that never expire have no row. A phase of `ledger_flows`, under its settings; it has none of its own, so it is inlined
-- there.
create or replace function withdrawal_flows(p_tenant integer, p_set_no integer, p_after bigint, p_upto bigint)
returns table (
  number bigint, at timestamptz, workflow_id text, node_id text, lot_no integer,
  assigned bigint, reserved bigint, released bigint, void bigint, sent bigint, used bigint, withdrawn bigint,
  for_others bigint, expired bigint, expired_from timestamptz)
language sql
stable
as $$
  select w.number, e.recorded_at, null::text, null::text, l.origin,
         0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
         0::bigint, -1::bigint, greatest(c.expires_at, e.recorded_at)
    from (
      select w.number, w.lot_no, w.ordinal
        from withdrawals w
       where w.tenant_id = p_tenant and w.set_no = p_set_no and w.number > p_after and w.number <= p_upto
       order by w.number
    ) w
   cross join lateral (
     select e.recorded_at
       from ledger_entries e
      where e.tenant_id = p_tenant and e.set_no = p_set_no and e.number between w.number and w.number
      order by e.number
      limit 1
   ) e
   cross join lateral (
     select case when l.import_id is null then l.origin_lot_no else l.lot_no end as origin
       from lots l
      where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no between w.lot_no and w.lot_no
      order by l.lot_no
      limit 1
   ) l
   cross join lateral (
     select c.expires_at
       from cards c
      where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = w.lot_no
        and c.ordinal between w.ordinal and w.ordinal
      order by c.ordinal
      limit 1
   ) c
   where c.expires_at is not null;
$$;
