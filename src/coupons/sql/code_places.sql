-- Returns the sets with numbers between `p_above` and `p_below` that have a code, at most `p_most`, the newest first; for a
-- `multiple` set also the latest card of the code. Deleted sets are included, unless their ledgers were removed
-- or are being removed. Lots that are being filled are skipped.
--
-- The search jumps from set to set over three indexes at once: the code as written, the code without regard to case, which
-- only sets that ignore case have, and the sets themselves. In the order of occurrences only the index on the code yields
-- its cards, so the planner cannot read a whole set instead while the table was never analyzed.
create or replace function code_places(
  p_tenant integer, p_code text, p_folded text, p_above integer, p_below integer, p_most integer)
returns table (set_no integer, lot_no integer, ordinal integer)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_set_no  integer := p_below;
  v_lot_no  integer;
  v_ordinal integer;
  v_single  boolean;
  v_kept    boolean;
  v_found   integer := 0;
begin
  while v_found < p_most loop
    v_set_no := greatest(
      (select c.set_no
         from cards c
        where c.tenant_id = p_tenant and c.code = p_code collate "C" and c.set_no < v_set_no
        order by c.set_no desc, c.occurrence desc
        limit 1),
      (select c.set_no
         from cards c
        where c.tenant_id = p_tenant and c.folded = p_folded collate "C" and c.set_no < v_set_no
        order by c.set_no desc, c.occurrence desc
        limit 1),
      (select s.set_no
         from coupon_sets s
        where s.tenant_id = p_tenant and s.code = p_code collate "C" and s.set_no < v_set_no
        order by s.set_no desc
        limit 1));
    exit when v_set_no is null or v_set_no <= p_above;

    select s.type = 'single', s.ledger_state = 'kept' into v_single, v_kept
      from coupon_sets s
     where s.tenant_id = p_tenant and s.set_no = v_set_no;
    continue when not v_kept;
    v_lot_no := null;
    v_ordinal := null;
    if not v_single then
      select c.lot_no, c.ordinal into v_lot_no, v_ordinal
        from unnest(code_spellings(p_tenant, v_set_no, p_code, p_folded)) as w (code)
       cross join lateral (
         select c.lot_no, c.ordinal, c.occurrence
           from cards c
           join lots l on l.tenant_id = c.tenant_id and l.set_no = c.set_no and l.lot_no = c.lot_no
          where c.tenant_id = p_tenant and c.code = w.code collate "C" and c.set_no = v_set_no
            and l.state not in ('filling', 'cancelled')
          order by c.occurrence desc
          limit 1
       ) c
       order by c.occurrence desc
       limit 1;
      continue when v_lot_no is null;
    end if;
    set_no := v_set_no;
    lot_no := v_lot_no;
    ordinal := v_ordinal;
    return next;
    v_found := v_found + 1;
  end loop;
end $$;
