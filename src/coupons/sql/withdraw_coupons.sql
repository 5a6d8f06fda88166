-- Withdraws codes by name, unless a contact holds them; expired and returned codes too. Each withdrawal has the number of
-- its ledger entry.
--
-- Outcomes: `withdrawn`, `alreadyWithdrawn`, `notFound` (in no finished import), `handedOut` with the `state` of the
-- assignment. Returns no rows if the set is deleted.
create or replace function withdraw_coupons(
  p_tenant integer, p_set_no integer, p_codes text[], p_caller uuid, p_reason text)
returns table (item integer, outcome text, state text)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_now      timestamptz;
  v_number   bigint;
  v_count    integer;
  v_outcomes text[];
  v_states   text[];
  v_lot_nos  integer[];
  v_ordinals integer[];
begin
  perform 1
     from coupon_sets s
    where s.tenant_id = p_tenant and s.set_no = p_set_no and s.deleted_at is null
      for no key update;
  if not found then
    return;
  end if;
  select greatest(clock_timestamp(), t.at) into v_now
    from ledger_tail(p_tenant, p_set_no) t;
  -- The codes of expired reservations are held by no contact any more.
  loop
    exit when end_reservations(p_tenant, p_set_no, v_now) = 0;
  end loop;
  select t.number + 1 into v_number
    from ledger_tail(p_tenant, p_set_no) t;

  select array_agg(
           case
             when c.ordinal is null then 'notFound'
             when l.number is not null then 'handedOut'
             when is_withdrawn(p_tenant, p_set_no, c.lot_no, c.ordinal) then 'alreadyWithdrawn'
             else 'withdrawn'
           end order by i),
         array_agg(
           case when l.number is not null then assignment_state(l.last_event, l.reserved_until, v_now) end order by i),
         array_agg(c.lot_no order by i),
         array_agg(c.ordinal order by i)
    into v_outcomes, v_states, v_lot_nos, v_ordinals
    from generate_series(1, cardinality(p_codes)) i
    left join lateral (
      select c.lot_no, c.ordinal
        from cards c
       cross join lateral (
         select o.state
           from lots o
          where o.tenant_id = p_tenant and o.set_no = p_set_no and o.lot_no between c.lot_no and c.lot_no
          order by o.lot_no
          limit 1
       ) o
       -- `+ 0` excludes the primary key, which would read the whole set.
       where c.tenant_id = p_tenant and c.code = p_codes[i] and c.set_no + 0 = p_set_no and o.state not in ('filling', 'cancelled')
       order by c.occurrence desc
       limit 1
    ) c on true
    left join lateral (
      select l.number, l.last_event, l.reserved_until
        from assignment_lives l
       where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = c.lot_no
         and l.ordinal between c.ordinal and c.ordinal
       order by l.lot_no, l.ordinal
       limit 1
    ) l on true;

  insert into withdrawals (tenant_id, set_no, lot_no, ordinal, number)
  select distinct p_tenant, p_set_no, v_lot_nos[i], v_ordinals[i], v_number
    from generate_series(1, cardinality(v_outcomes)) i
   where v_outcomes[i] = 'withdrawn';
  get diagnostics v_count = row_count;
  if v_count > 0 then
    update lots l
       set withdrawn = l.withdrawn + q.count
      from (
        select v_lot_nos[i] as lot_no, count(distinct v_ordinals[i])::integer as count
          from generate_series(1, cardinality(v_outcomes)) i
         where v_outcomes[i] = 'withdrawn'
         group by v_lot_nos[i]
      ) q
     where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = q.lot_no;
    perform append_withdrawal(p_tenant, p_set_no, v_now, v_count, null, p_caller, p_reason);
  end if;

  return query
    select i, v_outcomes[i], v_states[i]
      from generate_series(1, cardinality(v_outcomes)) i;
end $$;
