-- Erases ids of contacts that are being erased from the statistics of a set, where a workflow or a node has one of them. The
-- statistics are rolled up anew from the ledger, which names the pseudonyms by then. A set without a ledger keeps them: there
-- each source gets the name with the pseudonym. A source that has this name already takes in the totals of the other.
create or replace function erase_set_statistics(p_tenant integer, p_set_no integer, p_ids text[])
returns void
language plpgsql
as $$
declare
  v_pattern constant text := ids_pattern(p_ids, false);
  v_names   text[];
  v_source  statistics_sources;
  v_new     statistics_sources;
begin
  if exists (
    select 1
      from coupon_sets s
     where s.tenant_id = p_tenant and s.set_no = p_set_no and s.ledger_state = 'kept')
  then
    perform reset_statistics(p_tenant, p_set_no, v_pattern);
    return;
  end if;

  select array_agg(e.pseudonym order by i.place) into v_names
    from unnest(p_ids) with ordinality as i (id, place)
   cross join lateral (
     select e.pseudonym
       from erasures e
      where e.tenant_id = p_tenant and e.finished_at is null and i.id = any (e.contact_ids)
      order by e.requested_at
      limit 1
   ) e;
  perform pg_advisory_xact_lock(lock_key('statistics'), p_tenant);
  for v_source in
    select s.*
      from statistics_sources s
     where s.tenant_id = p_tenant and s.set_no = p_set_no and (s.workflow_id ~ v_pattern or s.node_id ~ v_pattern)
     order by s.source_no
  loop
    v_new := v_source;
    v_new.workflow_id := erased_text(v_source.workflow_id, p_ids, v_names);
    v_new.node_id := erased_text(v_source.node_id, p_ids, v_names);
    continue when v_new = v_source;
    select max(s.source_no) + 1 into v_new.source_no
      from statistics_sources s
     where s.tenant_id = p_tenant and s.set_no = p_set_no;
    insert into statistics_sources
    select v_new.*
    on conflict on constraint statistics_sources_key do nothing;
    select s.source_no into v_new.source_no
      from statistics_sources s
     where s.tenant_id = p_tenant and s.set_no = p_set_no
       and s.workflow_id = v_new.workflow_id and s.node_id = v_new.node_id and s.lot_no = v_new.lot_no;
    perform add_statistics_shares(p_tenant, p_set_no, v_source.source_no, v_new.source_no);
    delete from statistics_shares h
     where h.tenant_id = p_tenant and h.set_no = p_set_no and h.source_no = v_source.source_no;
    delete from statistics_sources s
     where s.tenant_id = p_tenant and s.set_no = p_set_no and s.source_no = v_source.source_no;
  end loop;
end $$;
