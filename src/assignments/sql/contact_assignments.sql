-- Returns the assignments of a contact and of those merged with it; with `p_usable` only those whose code can still be
-- used.
create or replace function contact_assignments(p_tenant integer, p_contact text, p_usable boolean)
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
