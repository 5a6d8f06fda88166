-- What the ledger of a set says after one number and up to another, as what each entry adds to the counters. Entries that
-- are of no assignment have no `workflow_id`. `expired_from` is when the row adds `expired` to the codes that lie expired,
-- null if its code never expires.
create or replace function ledger_flows(p_tenant integer, p_set_no integer, p_after bigint, p_upto bigint)
returns table (
  number bigint, at timestamptz, workflow_id text, node_id text, lot_no integer,
  assigned bigint, reserved bigint, released bigint, void bigint, sent bigint, used bigint, withdrawn bigint,
  for_others bigint, expired bigint, expired_from timestamptz)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_material = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_reserved bigint;
begin
  select e.reserved into v_reserved
    from ledger_entries e
   where e.tenant_id = p_tenant and e.set_no = p_set_no and e.number <= p_after
   order by e.number desc
   limit 1;

  return query
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

  return query
    select f.number, f.recorded_at, coalesce(a.workflow_id, w.none), coalesce(a.node_id, w.none),
           coalesce(l.origin, 0),
           - (f.reserved + f.released + f.void), f.reserved, f.released, f.void,
           (f.event = 'sent')::integer::bigint, (f.event = 'used')::integer::bigint, f.withdrawn, 0::bigint,
           f.released, case when c.expires_at is not null then greatest(c.expires_at, f.recorded_at) end
      from (
        select e.number, e.recorded_at, e.event, e.assignment_number,
               e.reserved - coalesce(lag(e.reserved) over (order by e.number), v_reserved, 0) as reserved,
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

  return query
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
end $$;
