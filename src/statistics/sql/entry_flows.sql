-- The part of `ledger_flows` that comes from ledger entries. `reserved` is a level in the ledger, so its change is the
-- difference from the entry before; `p_reserved` is the level at `p_after`. A released code that expires is added to those
-- that lie expired. A phase of `ledger_flows`, under its settings; it has none of its own, so it is inlined there.
create or replace function entry_flows(p_tenant integer, p_set_no integer, p_after bigint, p_upto bigint, p_reserved bigint)
returns table (
  number bigint, at timestamptz, workflow_id text, node_id text, lot_no integer,
  assigned bigint, reserved bigint, released bigint, void bigint, sent bigint, used bigint, withdrawn bigint,
  for_others bigint, expired bigint, expired_from timestamptz)
language sql
stable
as $$
  select f.number, f.recorded_at, coalesce(a.workflow_id, w.none), coalesce(a.node_id, w.none),
         coalesce(l.origin, 0),
         - (f.reserved + f.released + f.void), f.reserved, f.released, f.void,
         (f.event = 'sent')::integer::bigint, (f.event = 'used')::integer::bigint, f.withdrawn, 0::bigint,
         f.released, case when c.expires_at is not null then greatest(c.expires_at, f.recorded_at) end
    from (
      select e.number, e.recorded_at, e.event, e.assignment_number,
             e.reserved - coalesce(lag(e.reserved) over (order by e.number), p_reserved, 0) as reserved,
             (e.event in ('released', 'expired'))::integer::bigint as released,
             (e.event = 'void')::integer::bigint as void,
             coalesce(e.codes, 0)::bigint as withdrawn
        from ledger_entries e
       where e.tenant_id = p_tenant and e.set_no = p_set_no and e.number > p_after and e.number <= p_upto
       order by e.number
    ) f
   cross join lateral (
     select case when f.assignment_number is not null then '' end as none
   ) w
    left join lateral (
      select a.workflow_id, a.node_id, a.lot_no, a.ordinal
        from assignments a
       where a.tenant_id = p_tenant and a.set_no = p_set_no
         and a.number between f.assignment_number and f.assignment_number
       order by a.number
       limit 1
    ) a on true
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
       where l.expires and f.released > 0
         and c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = a.lot_no
         and c.ordinal between a.ordinal and a.ordinal
       order by c.ordinal
       limit 1
    ) c on true;
$$;
