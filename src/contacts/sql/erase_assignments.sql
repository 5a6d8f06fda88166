-- Phase of erase_portion: replaces the ids in the workflow, node and execution of the next `p_rows` assignments.
create or replace function erase_assignments(p_at erasures, p_ids text[], p_pseudonyms text[], p_rows integer)
returns erasures
language plpgsql
as $$
declare
  v_pattern constant text := ids_pattern(p_ids, false);
  v_row     record;
  v_any     boolean;
begin
  select string_agg(concat_ws(E'\n', q.workflow_id, q.node_id, q.execution_id), E'\n') ~ v_pattern into v_any
    from (
      select a.workflow_id, a.node_id, a.execution_id
        from assignments a
       where a.tenant_id = p_at.tenant_id and (a.set_no, a.number) > (p_at.at_set, p_at.at_number)
       order by a.set_no, a.number
       limit p_rows
    ) q;
  for v_row in
    select a.ctid as place, a.set_no, a.number,
           case when v_any then concat_ws(E'\n', a.workflow_id, a.node_id, a.execution_id) ~ v_pattern end as has_id
      from assignments a
     where a.tenant_id = p_at.tenant_id and (a.set_no, a.number) > (p_at.at_set, p_at.at_number)
     order by a.set_no, a.number
     limit p_rows
  loop
    p_at.at_set := v_row.set_no;
    p_at.at_number := v_row.number;
    if v_row.has_id then
      update assignments a
         set workflow_id = erased_text(a.workflow_id, p_ids, p_pseudonyms),
             node_id = erased_text(a.node_id, p_ids, p_pseudonyms),
             execution_id = erased_text(a.execution_id, p_ids, p_pseudonyms)
       where a.tenant_id = p_at.tenant_id and a.ctid = v_row.place;
    end if;
  end loop;
  if not found then
    p_at.stage := 'statistics';
  end if;
  return p_at;
end $$;
