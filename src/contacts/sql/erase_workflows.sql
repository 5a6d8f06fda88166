-- Phase of erase_portion: replaces the ids in the ids and names of workflows, under the lock that workflows are written under.
create or replace function erase_workflows(p_at erasures, p_ids text[], p_pseudonyms text[])
returns erasures
language plpgsql
as $$
declare
  v_pattern constant text := ids_pattern(p_ids, false);
  v_row     record;
begin
  perform pg_advisory_xact_lock(lock_key('sets'), p_at.tenant_id);
  for v_row in
    select w.workflow_id, erased_text(w.workflow_id, p_ids, p_pseudonyms) as id,
           erased_text(w.name, p_ids, p_pseudonyms) as name
      from workflows w
     where w.tenant_id = p_at.tenant_id and (w.workflow_id ~ v_pattern or w.name ~ v_pattern)
  loop
    if v_row.id <> v_row.workflow_id then
      insert into workflows (tenant_id, workflow_id, name, state, created_at, updated_at)
      select w.tenant_id, v_row.id, w.name, w.state, w.created_at, w.updated_at
        from workflows w
       where w.tenant_id = p_at.tenant_id and w.workflow_id = v_row.workflow_id;
      insert into workflow_sets (tenant_id, workflow_id, set_no, place)
      select s.tenant_id, v_row.id, s.set_no, s.place
        from workflow_sets s
       where s.tenant_id = p_at.tenant_id and s.workflow_id = v_row.workflow_id;
      delete from workflows where tenant_id = p_at.tenant_id and workflow_id = v_row.workflow_id;
    end if;
    update workflows
       set name = v_row.name
     where tenant_id = p_at.tenant_id and workflow_id = v_row.id and name <> v_row.name;
  end loop;
  p_at.stage := 'assignments';
  return p_at;
end $$;
