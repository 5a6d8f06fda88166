-- Returns a text with each of these ids replaced by its pseudonym where it stands by itself. Longer ids come before shorter
-- ones.
create or replace function erased_text(p_text text, p_ids text[], p_pseudonyms text[])
returns text
language plpgsql
immutable
as $$
begin
  for i in 1 .. cardinality(p_ids) loop
    -- Few texts contain more than one id, and compiling a pattern is expensive.
    if strpos(p_text, p_ids[i]) > 0 then
      p_text := regexp_replace(p_text, ids_pattern(p_ids[i:i], false), p_pseudonyms[i], 'g');
    end if;
  end loop;
  return p_text;
end $$;
