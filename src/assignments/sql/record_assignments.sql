-- Writes the assignments of the codes in `p_runs` to the items in `p_items`, with their reservations, and returns their
-- answers. `p_seqs` belong to `p_items`; all other arrays have a place for each item of the batch. `p_contact_nos` and
-- `p_roots` are those of `item_facts`.
create or replace function record_assignments(
  p_tenant integer, p_requested coupon_sets, p_at timestamptz, p_runs card_run[], p_items integer[], p_seqs integer[],
  p_contact_nos bigint[], p_roots text[], p_keys uuid[], p_contacts text[], p_workflows text[], p_nodes text[],
  p_executions text[], p_reserve integer[], p_callers uuid[])
returns setof assign_answer
language plpgsql
as $$
declare
  v_contacts   bigint[];
  v_set        coupon_sets := p_requested;
  v_valid      timestamptz := valid_until(p_requested, p_at);
  v_done       integer := 0;
  v_run        card_run;
  v_codes      text[];
  v_expiries   timestamptz[];
  v_attributes jsonb[];
begin
  v_contacts := contact_numbers(
    array_fill(p_tenant, array[cardinality(p_items)]),
    array(select coalesce(p_roots[i], p_contacts[i]) from unnest(p_items) with ordinality as q (i, place) order by q.place),
    array(select p_contact_nos[i] from unnest(p_items) with ordinality as q (i, place) order by q.place));

  foreach v_run in array p_runs loop
    if v_run.set_no <> v_set.set_no then
      select s.* into v_set
        from coupon_sets s
       where s.tenant_id = p_tenant and s.set_no = v_run.set_no;
      v_valid := valid_until(v_set, p_at);
    end if;
    -- An array in a variable of its own is expanded once; in a field of a record, for each subscript.
    v_codes := v_run.codes;
    v_expiries := v_run.expiries;
    v_attributes := v_run.attributes;
    insert into assignments (
      tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, contact_seq, key_hash, assigned_at,
      expires_at, key_id, workflow_id, node_id, execution_id)
    select p_tenant, v_set.set_no, v_run.number + i, p_requested.set_no, v_run.lot_no, v_run.ordinal + i,
           v_contacts[v_done + i], p_seqs[v_done + i], p_keys[q.item], p_at,
           least(v_expiries[i], v_set.expires_at, case when p_reserve[q.item] is null then v_valid end),
           p_callers[q.item], p_workflows[q.item], p_nodes[q.item], p_executions[q.item]
      from generate_series(1, v_run.size) i
     cross join lateral (select p_items[v_done + i] as item) q;

    if p_reserve is not null then
      insert into reservations (tenant_id, set_no, number, expires_at, code_expires_at)
      select p_tenant, v_set.set_no, v_run.number + i,
             least(p_at + make_interval(secs => p_reserve[p_items[v_done + i]]), v_expiries[i], v_set.expires_at),
             v_expiries[i]
        from generate_series(1, v_run.size) i
       where p_reserve[p_items[v_done + i]] is not null;
    end if;

    return query
      select q.item, 'assigned'::assign_outcome, false, v_set.set_no, v_set.id, v_run.number + i,
             coalesce(v_codes[i], v_set.code), p_at,
             case when q.reserve is null then 'assigned' else 'reserved' end,
             least(
               p_at + make_interval(secs => q.reserve),
               case when q.reserve is not null then least(v_expiries[i], v_set.expires_at) end),
             least(v_expiries[i], v_set.expires_at, case when q.reserve is null then v_valid end),
             v_set.timezone, null::text, null::text, null::text, v_attributes[i], p_roots[q.item]
        from generate_series(1, v_run.size) i
       cross join lateral (select p_items[v_done + i] as item, p_reserve[p_items[v_done + i]] as reserve) q;
    v_done := v_done + v_run.size;
  end loop;
end $$;
