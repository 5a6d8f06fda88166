-- Returns the codes of these assignments to their set. Each becomes a new card at the end of the lot of returned codes for
-- its import and its time of expiry. (One lot for all times would break the rule that expired cards are a prefix of their
-- lot.) A `single` set has no cards: its ledger counts the assignment as released, and nothing else is needed.
--
-- A code whose import was undone is not assigned again: its card is withdrawn from the start, and a ledger entry records
-- it. The caller holds the lock of the set.
create or replace function return_cards(p_tenant integer, p_set_no integer, p_assignments bigint[])
returns void
language plpgsql
as $$
declare
  v_codes       text[];
  v_lines       integer[];
  v_occurrences integer[];
  v_expiries    timestamptz[];
  v_origins     integer[];
  v_attributes  jsonb[];
  v_group       record;
  v_lot_no      integer;
  v_state       text;
  v_undone      boolean;
  v_import      uuid;
  v_last        integer;
  v_count       integer;
  v_at          timestamptz;
begin
  select array_agg(c.code), array_agg(c.line), array_agg(c.occurrence), array_agg(c.expires_at), array_agg(l.origin),
         array_agg(c.attributes)
    into v_codes, v_lines, v_occurrences, v_expiries, v_origins, v_attributes
    from unnest(p_assignments) as q (number)
   cross join lateral (
     select a.lot_no, a.ordinal
       from assignments a
      where a.tenant_id = p_tenant and a.set_no = p_set_no and a.number between q.number and q.number
      order by a.number
      limit 1
   ) a
   cross join lateral (
     select c.code, c.line, c.occurrence, c.expires_at, c.attributes
       from cards c
      where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = a.lot_no
        and c.ordinal between a.ordinal and a.ordinal
      order by c.ordinal
      limit 1
   ) c
   cross join lateral (
     select case when l.import_id is null then l.origin_lot_no else l.lot_no end as origin
       from lots l
      where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no between a.lot_no and a.lot_no
      order by l.lot_no
      limit 1
   ) l;

  for v_group in
    select distinct q.origin, q.expiry
      from unnest(v_origins, v_expiries) as q (origin, expiry)
  loop
    v_state := null;
    select l.lot_no, l.state, l.withdrawn_from is not null into v_lot_no, v_state, v_undone
      from lots l
     where l.tenant_id = p_tenant and l.set_no = p_set_no and l.import_id is null and l.origin_lot_no = v_group.origin
       and coalesce(l.first_expires_at, 'infinity') = coalesce(v_group.expiry, 'infinity')
     limit 1;
    if v_state is null then
      select l.withdrawn_from is not null into v_undone
        from lots l
       where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = v_group.origin;
      v_undone := coalesce(v_undone, false);
      select l.lot_no into v_lot_no
        from lots l
       where l.tenant_id = p_tenant and l.set_no = p_set_no
       order by l.lot_no desc
       limit 1;
      v_lot_no := coalesce(v_lot_no, 0) + 1;
      insert into lots (
        tenant_id, set_no, lot_no, origin_lot_no, state, first_expires_at, last_expires_at, withdrawn_from)
      values (
        p_tenant, p_set_no, v_lot_no, v_group.origin, case when v_undone then 'closed' else 'open' end, v_group.expiry,
        v_group.expiry, case when v_undone then 0 end);
    elsif v_state = 'closed' and not v_undone then
      update lots l
         set state = 'open'
       where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = v_lot_no;
    end if;

    select c.ordinal into v_last
      from cards c
     where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = v_lot_no
     order by c.ordinal desc
     limit 1;
    insert into cards (tenant_id, set_no, lot_no, ordinal, line, occurrence, code, expires_at, attributes)
    select p_tenant, p_set_no, v_lot_no, coalesce(v_last, 0) + row_number() over (), q.line, q.occurrence + 1, q.code,
           v_group.expiry, q.attributes
      from unnest(v_codes, v_lines, v_occurrences, v_expiries, v_origins, v_attributes)
             as q (code, line, occurrence, expiry, origin, attributes)
     where q.origin = v_group.origin and q.expiry is not distinct from v_group.expiry;
    get diagnostics v_count = row_count;

    if v_undone then
      select l.import_id into v_import
        from lots l
       where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = v_group.origin;
      select t.at into v_at
        from ledger_tail(p_tenant, p_set_no) t;
      perform append_withdrawal(p_tenant, p_set_no, v_at, v_count, v_import, null, null);
    end if;
  end loop;
end $$;
