-- Returns the spellings of a code in a set. In a set that ignores case (`p_folded` is the code without regard to case) a
-- code may have been imported, withdrawn and imported again in another case, so there may be several over time.
create or replace function code_spellings(p_tenant integer, p_set_no integer, p_code text, p_folded text)
returns text[]
language sql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
  select coalesce(array_agg(distinct w.code), array[p_code])
    from (
      select c.code
        from cards c
       where c.tenant_id = p_tenant and c.folded = p_folded collate "C" and c.set_no = p_set_no
       -- In this order only the index on folded codes yields them.
       order by c.occurrence
       limit 1000
    ) w;
$$;
