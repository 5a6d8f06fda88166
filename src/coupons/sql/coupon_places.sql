-- Returns the places of up to `p_most` cards of a set that may have a status, after a place in its deck, or before it if
-- `p_back`. Of each lot only the range where such cards can be is returned, and no card is read.
create or replace function coupon_places(
  p_tenant integer, p_set_no integer, p_status text, p_lot_no integer, p_ordinal integer, p_back boolean, p_most integer)
returns table (lot_no integer, ordinal integer)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_expires_at timestamptz;
  v_lot        record;
  v_first      integer;
  v_last       integer;
  v_cursor     integer;
  v_found      integer;
  v_left       integer := p_most;
begin
  select s.expires_at into v_expires_at
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = p_set_no;
  for v_lot in
    select l.lot_no, l.state, l.import_id, l.size, l.first_expires_at, l.withdrawn, l.withdrawn_from
      from lots l
     where l.tenant_id = p_tenant and l.set_no = p_set_no and l.state not in ('filling', 'cancelled')
       and case when p_back then l.lot_no <= p_lot_no else l.lot_no >= p_lot_no end
     order by case when p_back then - l.lot_no else l.lot_no end
  loop
    exit when v_left = 0;
    v_first := 1;
    v_last := v_lot.size;
    if v_lot.import_id is null then
      select c.ordinal into v_last
        from cards c
       where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = v_lot.lot_no
       order by c.ordinal desc
       limit 1;
    end if;
    if p_status in ('available', 'reserved', 'assigned', 'sent', 'used', 'void') then
      select a.ordinal into v_cursor
        from assignments a
       where a.tenant_id = p_tenant and a.set_no = p_set_no and a.lot_no = v_lot.lot_no
       order by a.ordinal desc
       limit 1;
      v_cursor := coalesce(v_cursor, 0);
      if p_status <> 'available' then
        v_last := v_cursor;
      elsif v_lot.state = 'open' then
        v_first := v_cursor + 1;
      else
        continue;
      end if;
    elsif p_status = 'withdrawn' and v_lot.withdrawn_from is null then
      continue when v_lot.withdrawn = 0;
      select min(w.ordinal), max(w.ordinal) into v_first, v_last
        from withdrawals w
       where w.tenant_id = p_tenant and w.set_no = p_set_no and w.lot_no = v_lot.lot_no;
    elsif p_status = 'expired' then
      continue when (least(v_lot.first_expires_at, v_expires_at) <= now()) is not true;
    end if;

    if p_back then
      if v_lot.lot_no = p_lot_no then
        v_last := least(v_last, p_ordinal - 1);
      end if;
      return query
        select v_lot.lot_no, o
          from generate_series(v_last, greatest(v_first, v_last - v_left + 1), -1) o;
    else
      if v_lot.lot_no = p_lot_no then
        v_first := greatest(v_first, p_ordinal + 1);
      end if;
      return query
        select v_lot.lot_no, o
          from generate_series(v_first, least(v_last, v_first + v_left - 1)) o;
    end if;
    get diagnostics v_found = row_count;
    v_left := v_left - v_found;
  end loop;
end $$;
