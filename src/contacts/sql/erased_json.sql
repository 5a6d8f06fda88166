-- Returns a flat JSON object with the ids in its names and texts replaced.
create or replace function erased_json(p_object jsonb, p_ids text[], p_pseudonyms text[])
returns jsonb
language sql
immutable
as $$
  select coalesce(
           jsonb_object_agg(
             erased_text(e.key, p_ids, p_pseudonyms),
             case jsonb_typeof(e.value)
               when 'string' then to_jsonb(erased_text(e.value #>> '{}', p_ids, p_pseudonyms))
               else e.value
             end),
           '{}')
    from jsonb_each(p_object) e;
$$;
