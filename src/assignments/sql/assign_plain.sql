-- Assigns codes to plain requests of many sets of many tenants, in one round trip and one commit. A request is plain if
-- nothing but its set, its contact and the next card decides it: its key is unknown, its contact was not merged and holds
-- nothing that the policy of the set cares for, and the set has not expired and has cards left in the lot that is being
-- dealt, of which none was withdrawn by name. All others are left untouched, for `assign_batch`.
--
-- Two clients at once: a set whose row somebody holds locked is skipped, so nobody waits for it, and two calls cannot wait
-- for each other's sets. The lock is a statement of its own, so all statements after it have a snapshot younger than the
-- commit of whoever held the lock before; with lock and look-up in one statement the same code would be assigned twice. For
-- the same reason no other isolation level works. New contacts are inserted in the order of tenant and id, as everywhere,
-- so two calls that bring the same ones cannot deadlock; but one waits for the other. A call that waits longer than
-- `lock_timeout`, with the locks of all its sets, fails, and the caller serves its sets one by one.
--
-- The items of a set are adjacent: `p_counts` of them from `p_firsts` on. No key and no contact occurs twice in a set. Items
-- of a set that are `p_ordered` are served in their order: none of them is served if one before it is not. The result has a
-- row for each item that was served.
--
-- The function runs as a role of its own, which sees the rows of all tenants: with an array of tenants in the policies of the
-- tables it took 1.6 times as long. So each look-up here names the tenant of its item, and each row that is written has it.
--
-- The settings, `order by … limit 1` and `between` keep each lookup an index probe, as in `assign_batch`.
create or replace function assign_plain(
  p_tenants integer[], p_sets uuid[], p_firsts integer[], p_counts integer[], p_ordered boolean[],
  p_keys uuid[], p_contacts text[], p_workflows text[], p_nodes text[], p_executions text[], p_callers uuid[])
returns setof plain_assignment
language plpgsql
security definer
set search_path = public, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set lock_timeout = '300ms'
as $$
declare
  v_now     timestamptz;
  v_sets    locked_set[];
  v_dealt   record;
  v_rows    plain_assignment[];
  v_written integer;
  v_numbers bigint[];
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'assign_plain needs read committed' using errcode = 'feature_not_supported';
  end if;

  v_sets := lock_plain_sets(p_tenants, p_sets, p_firsts, p_counts);
  v_now := clock_timestamp();

  v_dealt := deal_plain_cards(v_sets, p_keys, p_contacts, v_now);
  v_rows := v_dealt.rows;
  if not v_dealt.are_plain then
    -- The cards of each set go to the first of its items that are plain.
    v_rows := drop_other_rows(v_rows, p_ordered);
  end if;

  if v_dealt.are_new then
    insert into contacts (tenant_id, contact_no, contact_id) overriding system value
    select r.tenant_id, r.contact_no, p_contacts[r.item]
      from unnest(v_rows) r
     where r.is_new
     order by r.tenant_id, p_contacts[r.item] collate "C"
    on conflict (tenant_id, contact_id) do nothing;
    get diagnostics v_written = row_count;
    if v_written < (select count(*) from unnest(v_rows) r where r.is_new) then
      -- Another batch inserted one of them first, or it is new in several sets.
      v_numbers := contact_numbers(
        array(select r.tenant_id from unnest(v_rows) r),
        array(select p_contacts[r.item] from unnest(v_rows) r),
        array(select case when not r.is_new then r.contact_no end from unnest(v_rows) r));
    end if;
  end if;

  insert into assignments (
    tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, contact_seq, key_hash, assigned_at,
    expires_at, key_id, workflow_id, node_id, execution_id)
  select c.tenant_id, c.set_no, c.number, c.set_no, c.lot_no, c.ordinal, coalesce(v_numbers[c.place], c.contact_no),
         c.contact_seq, p_keys[c.item], c.assigned_at, c.expires_at, p_callers[c.item], p_workflows[c.item],
         p_nodes[c.item], p_executions[c.item]
    from unnest(v_rows) with ordinality as c (
           item, tenant_id, set_no, number, lot_no, ordinal, code, assigned_at, expires_at, timezone, attributes, contact_no,
           is_new, contact_seq, is_plain, import_id, place);

  return query
    select * from unnest(v_rows);
end $$;

-- The owner needs the right to create in the schema only while it becomes the owner.
do $$
begin
  if (select p.proowner::regrole::text <> 'couponry_lanes' from pg_proc p where p.oid = 'assign_plain'::regproc) then
    grant create on schema public to couponry_lanes;
    alter function assign_plain owner to couponry_lanes;
    revoke create on schema public from couponry_lanes;
  end if;
end $$;

revoke all on function assign_plain from public;
grant execute on function assign_plain to couponry_app;
