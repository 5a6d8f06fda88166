-- Assignments by their places, by contact and by code, each at the cost of a few pages however many there are.
--
-- In these orders only the right indexes have the rows, and nothing is sorted, so each look-up is a probe whatever the
-- planner knows. Plain joins read all assignments of a set or a tenant for each of them: several indexes begin with the same
-- columns, and where the planner takes a tenant for a small one, because it is new or no table was ever analyzed, they look
-- alike to it.

-- The assignments at these places, each with what is told of it. `place` is the position in the arrays; the order is not
-- promised. A place without an assignment is left out.
create function assignments_at(p_tenant integer, p_set_nos integer[], p_numbers bigint[])
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

-- What a contact was given, and those that are one with it; with `p_usable` what can still be used.
create function contact_assignments(p_tenant integer, p_contact text, p_usable boolean)
returns table (set_no integer, number bigint, assigned_at timestamptz, workflow_id text)
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
    select a.set_no, a.number, a.assigned_at, a.workflow_id
      from unnest(contact_family(p_tenant, p_contact)) as f (contact_no)
     cross join lateral (
       select a.set_no, a.number, a.assigned_at, a.workflow_id
         from assignments a
        where a.tenant_id = p_tenant and a.contact_no between f.contact_no and f.contact_no
        order by a.contact_no
     ) a
     where not p_usable
        or (select assignment_state(l.last_event, l.reserved_until, now()) in ('reserved', 'assigned', 'sent')
                   and (l.valid_until is null or l.valid_until > now())
              from assignment_lives l
             where l.tenant_id = p_tenant and l.set_no = a.set_no and l.number between a.number and a.number
             order by l.number
             limit 1);
end $$;

-- What was given of the cards with a code, of one set or of all.
create function card_assignments(p_tenant integer, p_code text, p_set_no integer)
returns table (set_no integer, number bigint, assigned_at timestamptz, workflow_id text, contact_no bigint)
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
    select a.set_no, a.number, a.assigned_at, a.workflow_id, a.contact_no
      from (
        select c.set_no, c.lot_no, c.ordinal
          from cards c
         where c.tenant_id = p_tenant and c.code between (p_code collate "C") and (p_code collate "C")
         order by c.code
      ) c
     cross join lateral (
       select a.set_no, a.number, a.assigned_at, a.workflow_id, a.contact_no
         from assignments a
        where a.tenant_id = p_tenant and a.set_no = c.set_no and a.lot_no = c.lot_no
          and a.ordinal between c.ordinal and c.ordinal
        order by a.lot_no, a.ordinal
        limit 1
     ) a
     where p_set_no is null or c.set_no = p_set_no;
end $$;
