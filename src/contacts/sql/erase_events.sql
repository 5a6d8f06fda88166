-- Phase of erase_portion: replaces the ids in the events that wait to be delivered. The reader of the outbox, which turns them
-- into deliveries, holds the cursor of the set.
create or replace function erase_events(p_at erasures, p_ids text[], p_pseudonyms text[])
returns erasures
language plpgsql
as $$
declare
  v_pattern constant text := ids_pattern(p_ids, true);
begin
  perform 1
     from webhook_cursors c
    where c.tenant_id = p_at.tenant_id
    order by c.set_no
      for update;
  update webhook_events e
     set payload = erased_json(e.payload, p_ids, p_pseudonyms)
   where e.tenant_id = p_at.tenant_id and e.payload::text ~ v_pattern;
  p_at.stage := 'deliveries';
  return p_at;
end $$;
