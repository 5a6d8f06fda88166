-- Deletes the last `p_rows` cards of a deleted set, and returns their number. The statistics read from the cards how many codes
-- lay expired at a time: the deleted ones are added to what they read beside them. From the last card down, because the cards
-- of a lot are searched from the first one on, and those that never expire are the last ones.
create or replace function remove_cards(p_tenant integer, p_set_no integer, p_rows integer)
returns integer
language plpgsql
as $$
declare
  v_rows integer;
begin
  with removed as (
    delete from cards c
     where c.tenant_id = p_tenant
       and c.ctid = any (array(
             select o.ctid
               from cards o
              where o.tenant_id = p_tenant and o.set_no = p_set_no
              order by o.lot_no desc, o.ordinal desc
              limit p_rows))
    returning c.lot_no, c.expires_at
  ), expiries as (
    insert into statistics_expiries as x (tenant_id, set_no, lot_no, bucket, codes)
    select p_tenant, p_set_no, l.lot_no, statistics_bucket(greatest(r.expires_at, l.published_at)), count(*)
      from removed r
      join lots l on l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = r.lot_no
     where r.expires_at is not null and l.import_id is not null and l.published_at is not null
       and l.state in ('open', 'closed')
     group by 3, 4
    on conflict (tenant_id, set_no, lot_no, bucket) do update
       set codes = x.codes + excluded.codes
  )
  select count(*) into v_rows
    from removed;
  return v_rows;
end $$;
