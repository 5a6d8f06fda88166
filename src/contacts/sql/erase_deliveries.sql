-- Phase of erase_portion: replaces the ids in the payloads of the next `p_rows` webhook deliveries.
create or replace function erase_deliveries(p_at erasures, p_ids text[], p_pseudonyms text[], p_rows integer)
returns erasures
language plpgsql
as $$
declare
  v_pattern constant text := ids_pattern(p_ids, true);
  v_row     record;
  v_any     boolean;
begin
  select string_agg(q.payload::text, E'\n') ~ v_pattern into v_any
    from (
      select d.payload
        from webhook_deliveries d
       where d.tenant_id = p_at.tenant_id and (d.webhook_no, d.delivery_no) > (p_at.at_set, p_at.at_number)
       order by d.webhook_no, d.delivery_no
       limit p_rows
    ) q;
  for v_row in
    select d.webhook_no, d.delivery_no, case when v_any then d.payload::text ~ v_pattern end as has_id
      from webhook_deliveries d
     where d.tenant_id = p_at.tenant_id and (d.webhook_no, d.delivery_no) > (p_at.at_set, p_at.at_number)
     order by d.webhook_no, d.delivery_no
     limit p_rows
  loop
    p_at.at_set := v_row.webhook_no;
    p_at.at_number := v_row.delivery_no;
    if v_row.has_id then
      -- By its key: a sender may have moved the row meanwhile.
      update webhook_deliveries d
         set payload = erased_json(d.payload, p_ids, p_pseudonyms)
       where d.tenant_id = p_at.tenant_id and d.webhook_no = v_row.webhook_no and d.delivery_no = v_row.delivery_no;
    end if;
  end loop;
  if not found then
    p_at.stage := 'workflows';
  end if;
  return p_at;
end $$;
