-- Returns the sums of two objects of counts, by name.
create or replace function add_counts(p_one jsonb, p_other jsonb)
returns jsonb
language sql
immutable
as $$
  select coalesce(jsonb_object_agg(n.key, n.count), '{}')
    from (
      select b.key, sum(b.value::bigint) as count
        from (
          select * from jsonb_each_text(p_one)
          union all
          select * from jsonb_each_text(p_other)
        ) b
       group by b.key
    ) n;
$$;
