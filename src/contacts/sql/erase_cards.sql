-- Phase of erase_portion: replaces the ids in the attributes of the next `p_rows` cards, under the locks of their sets. The
-- first pass finds the sets without a lock; the second, after the locks, finds the rows anew.
create or replace function erase_cards(p_at erasures, p_ids text[], p_pseudonyms text[], p_rows integer)
returns erasures
language plpgsql
as $$
declare
  v_from    erasures := p_at;
  v_pattern constant text := ids_pattern(p_ids, true);
  v_sets    integer[] := '{}';
  v_row     record;
  v_any     boolean;
begin
  select string_agg(q.attributes::text, E'\n') ~ v_pattern into v_any
    from (
      select c.attributes
        from cards c
       where c.tenant_id = v_from.tenant_id
         and (c.set_no, c.lot_no, c.ordinal) > (v_from.at_set, v_from.at_lot, v_from.at_number)
       order by c.set_no, c.lot_no, c.ordinal
       limit p_rows
    ) q;
  for v_row in
    select c.set_no, c.lot_no, c.ordinal, case when v_any then c.attributes::text ~ v_pattern end as has_id
      from cards c
     where c.tenant_id = v_from.tenant_id
       and (c.set_no, c.lot_no, c.ordinal) > (v_from.at_set, v_from.at_lot, v_from.at_number)
     order by c.set_no, c.lot_no, c.ordinal
     limit p_rows
  loop
    p_at.at_set := v_row.set_no;
    p_at.at_lot := v_row.lot_no;
    p_at.at_number := v_row.ordinal;
    if v_row.has_id and array_position(v_sets, v_row.set_no) is null then
      v_sets := v_sets || v_row.set_no::integer;
    end if;
  end loop;
  if not found then
    p_at.stage := 'done';
    return p_at;
  elsif v_sets = '{}' then
    return p_at;
  end if;

  perform 1
     from coupon_sets s
    where s.tenant_id = p_at.tenant_id and s.set_no = any (v_sets)
    order by s.set_no
      for no key update;
  for v_row in
    select c.ctid as place
      from cards c
     where c.tenant_id = p_at.tenant_id
       and (c.set_no, c.lot_no, c.ordinal) > (v_from.at_set, v_from.at_lot, v_from.at_number)
       and (c.set_no, c.lot_no, c.ordinal) <= (p_at.at_set, p_at.at_lot, p_at.at_number)
       and c.attributes::text ~ v_pattern
     order by c.set_no, c.lot_no, c.ordinal
  loop
    update cards c
       set attributes = erased_json(c.attributes, p_ids, p_pseudonyms)
     where c.tenant_id = p_at.tenant_id and c.ctid = v_row.place;
  end loop;
  return p_at;
end $$;
