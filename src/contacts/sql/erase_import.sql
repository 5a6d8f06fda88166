-- Phase of erase_portion: replaces the ids in the options, the failure and the waiting rows of the next import, under its lock.
create or replace function erase_import(p_at erasures, p_ids text[], p_pseudonyms text[])
returns erasures
language plpgsql
as $$
declare
  v_plain  constant text := ids_pattern(p_ids, false);
  v_json   constant text := ids_pattern(p_ids, true);
  v_import uuid;
begin
  select i.id into v_import
    from imports i
   where i.tenant_id = p_at.tenant_id and i.id > p_at.at_import
   order by i.id
   limit 1
     for update;
  if not found then
    p_at.stage := 'errors';
    return p_at;
  end if;

  update imports i
     set options = erased_json(i.options, p_ids, p_pseudonyms),
         failure = erased_text(i.failure, p_ids, p_pseudonyms)
   where i.tenant_id = p_at.tenant_id and i.id = v_import
     and (i.options::text ~ v_json or i.failure ~ v_plain);
  update import_chunks c
     set attributes = array(
           select case when u.object ~ v_json then erased_json(u.object::jsonb, p_ids, p_pseudonyms)::text else u.object end
             from unnest(c.attributes) with ordinality as u (object, place)
            order by u.place)
   where c.tenant_id = p_at.tenant_id and c.import_id = v_import and array_to_string(c.attributes, E'\n') ~ v_json;
  p_at.at_import := v_import;
  return p_at;
end $$;
