-- Inserts the sources of statistics that occur in the ledger of a set after the number `p_after` and up to `p_upto` and have
-- no number yet. A phase of `roll_up_statistics`, under its settings. It holds the row of the progress, so no other
-- transaction assigns the same numbers.
create or replace function add_statistics_sources(p_tenant integer, p_set_no integer, p_after bigint, p_upto bigint)
returns void
language plpgsql
as $$
declare
  v_last integer;
begin
  select s.source_no into v_last
    from statistics_sources s
   where s.tenant_id = p_tenant and s.set_no = p_set_no
   order by s.source_no desc
   limit 1;
  insert into statistics_sources (tenant_id, set_no, source_no, lot_no, workflow_id, node_id)
  select p_tenant, p_set_no, coalesce(v_last, 0) + row_number() over (), n.lot_no, n.workflow_id, n.node_id
    from (
      select f.workflow_id, f.node_id, f.lot_no
        from ledger_flows(p_tenant, p_set_no, p_after, p_upto) f
       where f.workflow_id is not null
       group by f.workflow_id, f.node_id, f.lot_no
    ) n
   where not exists (
     select 1
       from statistics_sources s
      where s.tenant_id = p_tenant and s.set_no = p_set_no
        and s.workflow_id = n.workflow_id and s.node_id = n.node_id and s.lot_no = n.lot_no);
end $$;
