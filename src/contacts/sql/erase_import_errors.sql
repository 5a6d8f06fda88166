-- Phase of erase_portion: replaces the ids in the codes of the next `p_rows` rejected rows.
create or replace function erase_import_errors(p_at erasures, p_ids text[], p_pseudonyms text[], p_rows integer)
returns erasures
language plpgsql
as $$
declare
  v_pattern constant text := ids_pattern(p_ids, false);
  v_row     record;
  -- Whether any row of the portion has an id. A pattern of many ids is expensive to start and then cheap for a long text, so
  -- rows are checked one by one only then.
  v_any     boolean;
begin
  select string_agg(q.code, E'\n') ~ v_pattern into v_any
    from (
      select e.code
        from import_errors e
       where e.tenant_id = p_at.tenant_id and (e.import_id, e.row_no) > (p_at.at_import, p_at.at_number)
       order by e.import_id, e.row_no
       limit p_rows
    ) q;
  for v_row in
    select e.ctid as place, e.import_id, e.row_no, case when v_any then e.code ~ v_pattern end as has_id
      from import_errors e
     where e.tenant_id = p_at.tenant_id and (e.import_id, e.row_no) > (p_at.at_import, p_at.at_number)
     order by e.import_id, e.row_no
     limit p_rows
  loop
    p_at.at_import := v_row.import_id;
    p_at.at_number := v_row.row_no;
    if v_row.has_id then
      update import_errors e
         set code = erased_text(e.code, p_ids, p_pseudonyms)
       where e.tenant_id = p_at.tenant_id and e.ctid = v_row.place;
    end if;
  end loop;
  if not found then
    p_at.stage := 'events';
  end if;
  return p_at;
end $$;
