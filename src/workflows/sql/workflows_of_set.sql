-- Returns the unfinished workflows that use a set, at most 100: the active ones first, then the paused ones. It has no
-- settings of its own, so it is inlined into the statement that calls it for each set of a page. The order by id makes each
-- lookup of a workflow an index probe, also before any statistics.
create or replace function workflows_of_set(p_tenant integer, p_set_no integer)
returns table (users jsonb)
language sql
stable
as $$
  select coalesce(
           jsonb_agg(
             jsonb_build_object('id', w.workflow_id, 'name', w.name, 'state', w.state)
             order by w.rank, w.workflow_id),
           '[]')
    from (
      select w.workflow_id, w.name, w.state, r.rank
        from workflow_sets u
       cross join lateral (
         select w.workflow_id, w.name, w.state
           from workflows w
          where w.tenant_id = p_tenant and w.workflow_id between u.workflow_id and u.workflow_id
          order by w.workflow_id
          limit 1
       ) w
       cross join lateral (
         select array_position(array['active', 'paused', 'draft'], w.state) as rank
       ) r
       where u.tenant_id = p_tenant and u.set_no = p_set_no and w.state <> 'finished'
       order by r.rank, w.workflow_id
       limit 100
    ) w;
$$;
