-- Phase of erase_portion: replaces the ids in the reasons of the next `p_rows` ledger entries.
create or replace function erase_entries(p_at erasures, p_ids text[], p_pseudonyms text[], p_rows integer)
returns erasures
language plpgsql
as $$
declare
  v_pattern constant text := ids_pattern(p_ids, false);
  v_row     record;
  v_any     boolean;
begin
  select string_agg(q.reason, E'\n') ~ v_pattern into v_any
    from (
      select e.reason
        from ledger_entries e
       where e.tenant_id = p_at.tenant_id and (e.set_no, e.number) > (p_at.at_set, p_at.at_number)
       order by e.set_no, e.number
       limit p_rows
    ) q;
  for v_row in
    select e.ctid as place, e.set_no, e.number, case when v_any then e.reason ~ v_pattern end as has_id
      from ledger_entries e
     where e.tenant_id = p_at.tenant_id and (e.set_no, e.number) > (p_at.at_set, p_at.at_number)
     order by e.set_no, e.number
     limit p_rows
  loop
    p_at.at_set := v_row.set_no;
    p_at.at_number := v_row.number;
    if v_row.has_id then
      update ledger_entries e
         set reason = erased_text(e.reason, p_ids, p_pseudonyms)
       where e.tenant_id = p_at.tenant_id and e.ctid = v_row.place;
    end if;
  end loop;
  if not found then
    p_at.stage := 'cards';
  end if;
  return p_at;
end $$;
