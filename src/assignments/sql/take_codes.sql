-- Takes up to `p_want` codes of a set, under the lock and the settings of `assign_batch`; their ledger numbers follow
-- `p_number`. Lots of imports come first, then returned codes. `p_held` is the used part of the quantity of a `single` set.
-- Codes that have expired or were withdrawn by name are skipped for good; lots that were withdrawn as a whole are closed.
create or replace function take_codes(
  p_tenant integer, p_set coupon_sets, p_want integer, p_number bigint, p_held bigint, p_at timestamptz)
returns card_run[]
language plpgsql
as $$
declare
  v_returned   boolean;
  v_lot        record;
  v_cursor     integer;
  v_size       integer;
  v_take       integer;
  v_taken      integer := 0;
  v_codes      text[];
  v_expiries   timestamptz[];
  v_attributes jsonb[];
  v_between    card_run[];
  v_runs       card_run[] := array[]::card_run[];
begin
  if p_set.type = 'single' then
    select a.ordinal into v_cursor
      from assignments a
     where a.tenant_id = p_tenant and a.set_no = p_set.set_no and a.lot_no = 0
     order by a.ordinal desc
     limit 1;
    v_cursor := coalesce(v_cursor, 0);
    v_take := least(p_want, coalesce(p_set.quantity, 2147483647) - p_held, 2147483647 - v_cursor);
    if v_take > 0 then
      v_runs := array[(p_set.set_no, p_number, 0, v_cursor, v_take, null, null, null)::card_run];
    end if;
    return v_runs;
  end if;

  <<lots>>
  foreach v_returned in array array[false, true] loop
    for v_lot in
      select l.lot_no, l.size, l.first_expires_at, l.last_expires_at, l.withdrawn
        from lots l
       where l.tenant_id = p_tenant and l.set_no = p_set.set_no and l.state = 'open'
         and (l.import_id is null) = v_returned
       order by l.lot_no
    loop
      exit lots when v_taken = p_want;
      v_size := v_lot.size;
      if v_returned then
        select c.ordinal into v_size
          from cards c
         where c.tenant_id = p_tenant and c.set_no = p_set.set_no and c.lot_no = v_lot.lot_no
         order by c.ordinal desc
         limit 1;
      end if;
      select a.ordinal into v_cursor
        from assignments a
       where a.tenant_id = p_tenant and a.set_no = p_set.set_no and a.lot_no = v_lot.lot_no
       order by a.ordinal desc
       limit 1;
      v_cursor := coalesce(v_cursor, 0);
      if v_lot.last_expires_at <= p_at then
        v_cursor := v_size;
      elsif v_lot.first_expires_at <= p_at then
        v_cursor := greatest(v_cursor, expired_cards(p_tenant, p_set.set_no, v_lot.lot_no, v_size, p_at));
      end if;
      v_take := least(p_want - v_taken, v_size - v_cursor);
      if v_take > 0 and v_lot.withdrawn > 0 then
        if exists (
          select 1
            from withdrawals w
           where w.tenant_id = p_tenant and w.set_no = p_set.set_no and w.lot_no = v_lot.lot_no
             and w.ordinal > v_cursor and w.ordinal <= v_cursor + v_take
        ) then
          v_between := take_between(
            p_tenant, p_set.set_no, v_lot.lot_no, v_cursor, v_take, p_number + v_taken);
          v_take := coalesce((select sum(r.size) from unnest(v_between) r), 0);
          v_taken := v_taken + v_take;
          v_runs := v_runs || v_between;
          continue when v_take > 0;
        end if;
      end if;
      if v_take = 0 then
        -- A lot of returned codes is reopened when more are returned to it.
        update lots l
           set state = 'closed'
         where l.tenant_id = p_tenant and l.set_no = p_set.set_no and l.lot_no = v_lot.lot_no;
        continue;
      end if;

      select array_agg(c.code), case when v_lot.first_expires_at is not null then array_agg(c.expires_at) end,
             case when count(c.attributes) > 0 then array_agg(c.attributes) end
        into v_codes, v_expiries, v_attributes
        from (
          select c.code, c.expires_at, c.attributes
            from cards c
           where c.tenant_id = p_tenant and c.set_no = p_set.set_no and c.lot_no = v_lot.lot_no
             and c.ordinal > v_cursor and c.ordinal <= v_cursor + v_take
           order by c.ordinal
        ) c;
      if cardinality(v_codes) is distinct from v_take then
        raise exception 'lot % of set % is not dense after %', v_lot.lot_no, p_set.set_no, v_cursor
          using errcode = 'data_corrupted';
      end if;
      v_runs := v_runs
        || (p_set.set_no, p_number + v_taken, v_lot.lot_no, v_cursor, v_take, v_codes, v_expiries, v_attributes)::card_run;
      v_taken := v_taken + v_take;
    end loop;
  end loop lots;
  return v_runs;
end $$;
