-- The part of `ledger_flows` that comes from assignments: each adds one to `assigned`, and takes a code that expires from those
-- that lie expired. A phase of `ledger_flows`, under its settings; it has none of its own, so it is inlined there.
create or replace function assignment_flows(p_tenant integer, p_set_no integer, p_after bigint, p_upto bigint)
returns table (
  number bigint, at timestamptz, workflow_id text, node_id text, lot_no integer,
  assigned bigint, reserved bigint, released bigint, void bigint, sent bigint, used bigint, withdrawn bigint,
  for_others bigint, expired bigint, expired_from timestamptz)
language sql
stable
as $$
  select a.number, a.assigned_at, coalesce(a.workflow_id, ''), coalesce(a.node_id, ''), coalesce(l.origin, 0),
         1::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
         (a.requested_set_no <> a.set_no)::integer::bigint, -1::bigint,
         case when c.expires_at is not null then greatest(c.expires_at, a.assigned_at) end
    from (
      select a.number, a.assigned_at, a.workflow_id, a.node_id, a.set_no, a.requested_set_no, a.lot_no, a.ordinal
        from assignments a
       where a.tenant_id = p_tenant and a.set_no = p_set_no and a.number > p_after and a.number <= p_upto
       order by a.number
    ) a
    left join lateral (
      select case when l.import_id is null then l.origin_lot_no else l.lot_no end as origin,
             l.first_expires_at is not null as expires
        from lots l
       where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no between a.lot_no and a.lot_no
       order by l.lot_no
       limit 1
    ) l on true
    left join lateral (
      select c.expires_at
        from cards c
       where l.expires and c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = a.lot_no
         and c.ordinal between a.ordinal and a.ordinal
       order by c.ordinal
       limit 1
    ) c on true;
$$;
