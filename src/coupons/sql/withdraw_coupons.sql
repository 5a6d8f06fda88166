-- Withdraws codes by name, each that nobody has. Expired ones too, and what came back and waits. What is new since 0010:
-- they carry the number of their entry in the ledger.
--
-- Outcomes: `withdrawn`, `alreadyWithdrawn`, `notFound` (in no import that is finished), `handedOut` with the `state` of
-- the assignment. No row if the set is deleted.
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
  v_now       timestamptz;
  v_number    bigint;
  v_count     integer;
  j_outcome   text[];
  j_state     text[];
  j_lot_no    integer[];
  j_ordinal   integer[];
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
  -- What they hold nobody has any more.
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
    into j_outcome, j_state, j_lot_no, j_ordinal
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
       -- `+ 0` keeps the primary key out, which reads the whole set.
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
  select distinct p_tenant, p_set_no, j_lot_no[i], j_ordinal[i], v_number
    from generate_series(1, cardinality(j_outcome)) i
   where j_outcome[i] = 'withdrawn';
  get diagnostics v_count = row_count;
  if v_count > 0 then
    update lots l
       set withdrawn = l.withdrawn + q.count
      from (
        select j_lot_no[i] as lot_no, count(distinct j_ordinal[i])::integer as count
          from generate_series(1, cardinality(j_outcome)) i
         where j_outcome[i] = 'withdrawn'
         group by j_lot_no[i]
      ) q
     where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = q.lot_no;
    perform append_withdrawal(p_tenant, p_set_no, v_now, v_count, null, p_caller, p_reason);
  end if;

  return query
    select i, j_outcome[i], j_state[i]
      from generate_series(1, cardinality(j_outcome)) i;
end $$;
