-- Phase of apply_import_chunk: the rows of a chunk, each with the reason why it is rejected, null if it is accepted.
--
-- `occurrence` is the number of its next card. `came_in_at` is the end of the import that brought a duplicate, `other_set_no`
-- the set that has it, looked for only with `p_unique`. Stable, so that it reads by the snapshot of its caller.
create or replace function evaluate_import_chunk(p_import imports, p_chunk import_chunks, p_unique boolean)
returns table (
  row_no integer, line integer, code text, expires_at timestamptz, attributes text, fold text,
  occurrence integer, reason text, first_line integer, came_in_at timestamptz, other_set_no integer)
language plpgsql
stable
as $$
#variable_conflict use_column
declare
  v_cancelled constant integer[] := array(
    select l.lot_no
      from lots l
     where l.tenant_id = p_import.tenant_id and l.set_no = p_import.set_no and l.state = 'cancelled');
  -- Most sets have none, which saves a lookup for each duplicate.
  v_withdrawn constant boolean := exists (
    select 1
      from lots l
     where l.tenant_id = p_import.tenant_id and l.set_no = p_import.set_no
       and (l.withdrawn > 0 or l.withdrawn_from is not null));
begin
  return query
    with incoming as (
      select u.row_no, u.line, u.code, u.expires_at, u.attributes, u.fold,
             coalesce(u.first_line, case when row_number() over of_code > 1 then first_value(u.line) over of_code end) as first_line
        from unnest(
               p_chunk.row_nos, p_chunk.lines, p_chunk.codes, p_chunk.expires_ats, p_chunk.first_lines,
               p_chunk.attributes, p_chunk.folds)
          as u (row_no, line, code, expires_at, first_line, attributes, fold)
      window of_code as (partition by coalesce(u.fold, u.code) collate "C" order by u.row_no)
    )
    select n.row_no, n.line, n.code, n.expires_at, n.attributes, n.fold, held.occurrence + 1, found.reason,
           case found.reason when 'duplicateInFile' then coalesce(n.first_line, held.line) end,
           case found.reason
             when 'duplicateInSet' then (
               -- A card that came back has no time of its own: the one that an import brought does.
               select l.published_at
                 from cards c
                cross join lateral (
                  select l.published_at
                    from lots l
                   where l.tenant_id = p_import.tenant_id and l.set_no = c.set_no and l.lot_no between c.lot_no and c.lot_no
                   order by l.lot_no
                   limit 1
                ) l
                where c.tenant_id = p_import.tenant_id and c.code = held.code and c.set_no + 0 = p_import.set_no
                  and l.published_at is not null
                order by c.occurrence desc
                limit 1)
             when 'duplicateInTenant' then elsewhere.came_in_at
           end,
           case found.reason when 'duplicateInTenant' then elsewhere.set_no end
      from incoming n
      -- As the set has it written. A card that came back has no `folded`, so its code is looked up again below.
      left join lateral (
        select c.code
          from cards c
         where n.fold is not null and c.tenant_id = p_import.tenant_id and c.folded = n.fold
           and c.set_no + 0 = p_import.set_no
         order by c.occurrence desc
         limit 1
      ) known on true
      -- The newest card of the code. One that does not count leaves room for another occurrence.
      left join lateral (
        select c.lot_no, c.line, c.code, c.occurrence,
               c.lot_no <> all (v_cancelled)
                 and not (v_withdrawn and is_withdrawn(p_import.tenant_id, c.set_no, c.lot_no, c.ordinal)) as counts
          from cards c
         -- `+ 0` keeps the primary key out: while the table was never analyzed, reading the whole set by it looks as
         -- cheap as one code by the index on the code. A `coalesce` around the code would keep that index out, too.
         where c.tenant_id = p_import.tenant_id and c.set_no + 0 = p_import.set_no
           and c.code = case when known.code is null then n.code else known.code end
         order by c.occurrence desc
         limit 1
      ) held on true
      left join lateral (
        select f.set_no, f.came_in_at
          from (
            select c.set_no, l.published_at as came_in_at
              from (
                select distinct on (c.set_no) c.set_no, c.lot_no, c.ordinal
                  from cards c
                 where p_unique and c.tenant_id = p_import.tenant_id and c.code = n.code
                 order by c.set_no, c.occurrence desc
              ) c
             cross join lateral (
               select l.state, l.published_at
                 from lots l
                where l.tenant_id = p_import.tenant_id and l.set_no = c.set_no and l.lot_no between c.lot_no and c.lot_no
                order by l.lot_no
                limit 1
             ) l
             cross join lateral (
               select s.deleted_at
                 from coupon_sets s
                where s.tenant_id = p_import.tenant_id and s.set_no between c.set_no and c.set_no
                order by s.set_no
                limit 1
             ) s
             where c.set_no <> p_import.set_no and l.state <> 'cancelled' and s.deleted_at is null
               and not is_withdrawn(p_import.tenant_id, c.set_no, c.lot_no, c.ordinal)
            union all
            select s.set_no, s.created_at
              from coupon_sets s
             where p_unique and s.tenant_id = p_import.tenant_id and s.code = n.code and s.deleted_at is null
          ) f
         limit 1
      ) elsewhere on true
     cross join lateral (
       select case
                when n.first_line is not null or held.lot_no = p_import.lot_no then 'duplicateInFile'
                when held.counts then 'duplicateInSet'
                when elsewhere.set_no is not null then 'duplicateInTenant'
              end as reason
     ) found;
end $$;
