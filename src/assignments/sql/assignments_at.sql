-- Returns the assignments at these places with their details. `place` is the position in the arrays; the order of the rows
-- is unspecified. Places without an assignment are skipped.
create or replace function assignments_at(p_tenant integer, p_set_nos integer[], p_numbers bigint[])
returns table (
  place bigint, set_no integer, number bigint, code text, set_id uuid, requested_set_id uuid, contact_id text,
  assigned_at timestamptz, state text, reserved_until timestamptz, expires_at timestamptz, timezone text,
  workflow_id text, node_id text, execution_id text, attributes jsonb)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_material = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
    select p.place, a.set_no, a.number, coalesce(card.code, served.code), served.id, requested.id,
           coalesce(root.contact_id, contact.contact_id), a.assigned_at,
           assignment_state(a.last_event, a.reserved_until, now()), a.reserved_until, a.valid_until, served.timezone,
           a.workflow_id, a.node_id, a.execution_id, card.attributes
      from unnest(p_set_nos, p_numbers) with ordinality as p (set_no, number, place)
     cross join lateral (
       select l.*
         from assignment_lives l
        where l.tenant_id = p_tenant and l.set_no = p.set_no and l.number between p.number and p.number
        order by l.number
        limit 1
     ) a
     cross join lateral (
       select s.id, s.code, s.timezone
         from coupon_sets s
        where s.tenant_id = p_tenant and s.set_no between a.set_no and a.set_no
        order by s.set_no
        limit 1
     ) served
     cross join lateral (
       select s.id
         from coupon_sets s
        where s.tenant_id = p_tenant and s.set_no between a.requested_set_no and a.requested_set_no
        order by s.set_no
        limit 1
     ) requested
     cross join lateral (
       select c.contact_id, c.merged_into
         from contacts c
        where c.tenant_id = p_tenant and c.contact_no between a.contact_no and a.contact_no
        order by c.contact_no
        limit 1
     ) contact
      left join lateral (
        select c.contact_id
          from contacts c
         where c.tenant_id = p_tenant and c.contact_no between contact.merged_into and contact.merged_into
         order by c.contact_no
         limit 1
      ) root on true
      left join lateral (
        select c.code, c.attributes
          from cards c
         where c.tenant_id = p_tenant and c.set_no = a.set_no and c.lot_no = a.lot_no
           and c.ordinal between a.ordinal and a.ordinal
         order by c.ordinal
         limit 1
      ) card on true;
end $$;
