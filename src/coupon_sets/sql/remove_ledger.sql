-- Deletes up to `p_rows` rows of the ledger and the codes of a set that was deleted more than `p_days` days ago, table by table
-- from the table number `p_table` on, which counts from 1. Returns the number of the table to go on with, null after the last,
-- and the number of rows deleted. Deletes nothing, and stays at the table, while anything still needs the ledger (see
-- `begin_ledger_removal`), or another session deletes rows of the tenant.
--
-- Two replicas at once: the second does nothing. After a crash any replica begins again with the first table. Contacts are not
-- erased meanwhile, since that rewrites the same rows.
--
-- A reader in between never sees an assignment in a state that it does not have: assignments go before the entries that say
-- what became of them, and codes of the set are not looked up any more. Statistics read what is left: the set, its terms, and
-- the lots of its imports. `webhook_cursors` has a row for each set anyway.
--
-- A planner without statistics might scan the whole table: the settings leave only the indexes.
create or replace function remove_ledger(
  p_tenant integer, p_set_no integer, p_days integer, p_table integer, p_rows integer, out next_table integer, out deleted integer)
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set lock_timeout = '4s'
as $$
declare
  c_tables constant text[] := array['assignment_answers', 'assignments', 'ledger_entries', 'withdrawals', 'cards', 'lots'];
  v_state  text;
  v_rows   integer;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'remove_ledger needs read committed' using errcode = 'feature_not_supported';
  end if;
  perform enter_tenant(p_tenant);
  next_table := p_table;
  deleted := 0;
  if not (pg_try_advisory_xact_lock(lock_key('deletion'), p_tenant)
          and pg_try_advisory_xact_lock(lock_key('erasures'), p_tenant)) then
    return;
  end if;
  select s.ledger_state into v_state
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = p_set_no;
  if v_state = 'kept' and not begin_ledger_removal(p_tenant, p_set_no, p_days) then
    return;
  end if;
  while v_state <> 'removed' and next_table <= cardinality(c_tables) loop
    v_rows := case c_tables[next_table]
      when 'cards' then remove_cards(p_tenant, p_set_no, p_rows - deleted)
      else delete_portion(
        c_tables[next_table], p_tenant,
        case c_tables[next_table]
          when 'assignment_answers' then 'o.requested_set_no = $2'
          when 'lots' then 'o.set_no = $2 and o.import_id is null'
          else 'o.set_no = $2'
        end,
        p_set_no, p_rows - deleted)
    end;
    deleted := deleted + v_rows;
    if deleted >= p_rows then
      return;
    end if;
    -- Fewer rows than there was room for: the table has no more.
    next_table := next_table + 1;
  end loop;
  next_table := null;
  update coupon_sets s
     set ledger_state = 'removed'
   where s.tenant_id = p_tenant and s.set_no = p_set_no and s.ledger_state = 'removing';
end $$;
