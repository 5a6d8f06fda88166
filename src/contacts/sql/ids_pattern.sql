-- Returns a regular expression for these ids: in plain text it matches where an id stands by itself, in the text of JSON
-- anywhere. Null without ids.
create or replace function ids_pattern(p_ids text[], p_json boolean)
returns text
language sql
immutable
as $$
  select case when p_json then q.ids else '(?<![[:alnum:]])(' || q.ids || ')(?![[:alnum:]])' end
    from (
      select string_agg(regexp_replace(n.id, '([][\\.^$*+?(){}|-])', '\\\1', 'g'), '|' order by length(n.id) desc) as ids
        from unnest(p_ids) u (id)
       cross join lateral (
         select case when p_json then substr(to_json(u.id)::text, 2, length(to_json(u.id)::text) - 2) else u.id end as id
       ) n
    ) q;
$$;
