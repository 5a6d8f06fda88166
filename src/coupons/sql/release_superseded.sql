-- Returns those of `p_codes` that were assigned at the times `p_ats`, or later, only by a history that is lost, because an
-- earlier backup was restored. Assignments that still hold one of them here had ended in that history: they are released, so
-- that the code can be withdrawn by name.
create or replace function release_superseded(
  p_tenant integer, p_set_no integer, p_codes text[], p_ats timestamptz[], p_reason text)
returns text[]
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_now     timestamptz;
  v_codes   text[];
  v_numbers bigint[];
  v_states  text[];
  v_expires timestamptz[];
begin
  perform 1
     from coupon_sets s
    where s.tenant_id = p_tenant and s.set_no = p_set_no
      for no key update;
  select greatest(clock_timestamp(), t.at) into v_now
    from ledger_tail(p_tenant, p_set_no) t;
  loop
    exit when end_reservations(p_tenant, p_set_no, v_now) = 0;
  end loop;

  with lost as materialized (
    select q.code, l.number, l.valid_until,
           case when l.number is not null then assignment_state(l.last_event, l.reserved_until, v_now) end as state
      from unnest(p_codes, p_ats) as q (code, at)
     cross join lateral (
       select c.lot_no, c.ordinal
         from cards c
        -- `+ 0` excludes the primary key, which would read the whole set.
        where c.tenant_id = p_tenant and c.code = q.code and c.set_no + 0 = p_set_no
        order by c.occurrence desc
        limit 1
     ) c
      left join lateral (
        select l.number, l.last_event, l.reserved_until, l.valid_until
          from assignment_lives l
         where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = c.lot_no
           and l.ordinal between c.ordinal and c.ordinal
         order by l.lot_no, l.ordinal
         limit 1
      ) l on true
     where not exists (
       select 1
         from cards e
         join assignments a on a.tenant_id = p_tenant and a.set_no = p_set_no and a.lot_no = e.lot_no and a.ordinal = e.ordinal
        where e.tenant_id = p_tenant and e.code = q.code and e.set_no + 0 = p_set_no and a.assigned_at >= q.at)
  )
  select array_agg(t.code),
         array_agg(t.number order by t.number) filter (where t.state in ('reserved', 'assigned')),
         array_agg(t.state order by t.number) filter (where t.state in ('reserved', 'assigned')),
         array_agg(t.valid_until order by t.number) filter (where t.state in ('reserved', 'assigned'))
    into v_codes, v_numbers, v_states, v_expires
    from lost t;

  if v_numbers is not null then
    perform drop_reservations(p_tenant, p_set_no, v_numbers);
    perform append_entries(
      p_tenant, p_set_no, v_now, v_numbers, array_fill('released'::text, array[cardinality(v_numbers)]), v_states, v_expires,
      null, null, array_fill(p_reason, array[cardinality(v_numbers)]));
    perform return_cards(p_tenant, p_set_no, v_numbers);
  end if;
  return coalesce(v_codes, array[]::text[]);
end $$;
