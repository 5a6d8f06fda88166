-- Phase of erase_portion: replaces the ids of one erasure in the texts of the next `p_rows` of the contact's own assignments,
-- their entries and their cards. When none is left, erases them from the statistics of the changed sets, one set per call.
create or replace function erase_own_texts(p_at erasures, p_ids text[], p_pseudonyms text[], p_rows integer)
returns erasures
language plpgsql
as $$
declare
  v_pattern constant text := ids_pattern(p_ids, false);
  v_family  constant bigint[] := contact_family(p_at.tenant_id, p_at.pseudonym);
  v_contact bigint;
  v_left    integer := p_rows;
  v_own     record;
  v_place   tid;
begin
  while v_left > 0 loop
    select min(f.contact_no) into v_contact
      from unnest(v_family) as f (contact_no)
     where f.contact_no >= p_at.at_number;
    exit when v_contact is null;
    if v_contact > p_at.at_number then
      p_at.at_number := v_contact;
      p_at.at_set := 0;
      p_at.at_lot := 0;
    end if;
    for v_own in
      select a.ctid as place, a.requested_set_no, a.contact_seq, a.set_no, a.number, a.lot_no, a.ordinal
        from assignments a
       where a.tenant_id = p_at.tenant_id and a.contact_no = v_contact
         and (a.requested_set_no, a.contact_seq) > (p_at.at_set, p_at.at_lot)
       order by a.requested_set_no, a.contact_seq
       limit v_left
    loop
      v_left := v_left - 1;
      p_at.at_set := v_own.requested_set_no;
      p_at.at_lot := v_own.contact_seq;
      update assignments a
         set workflow_id = erased_text(a.workflow_id, p_ids, p_pseudonyms),
             node_id = erased_text(a.node_id, p_ids, p_pseudonyms),
             execution_id = erased_text(a.execution_id, p_ids, p_pseudonyms)
       where a.tenant_id = p_at.tenant_id and a.ctid = v_own.place
         and (a.workflow_id ~ v_pattern or a.node_id ~ v_pattern or a.execution_id ~ v_pattern);
      if found and v_own.set_no <> all (p_at.changed_sets) then
        p_at.changed_sets := p_at.changed_sets || v_own.set_no;
      end if;
      for v_place in
        select e.ctid
          from ledger_entries e
         where e.tenant_id = p_at.tenant_id and e.set_no = v_own.set_no and e.assignment_number = v_own.number
           and e.reason ~ v_pattern
         order by e.stage
      loop
        update ledger_entries e
           set reason = erased_text(e.reason, p_ids, p_pseudonyms)
         where e.tenant_id = p_at.tenant_id and e.ctid = v_place;
      end loop;
      for v_place in
        select c.ctid
          from cards c
         where c.tenant_id = p_at.tenant_id and c.set_no = v_own.set_no and c.lot_no = v_own.lot_no
           and c.ordinal between v_own.ordinal and v_own.ordinal and c.attributes is not null
         order by c.ordinal
      loop
        update cards c
           set attributes = erased_json(c.attributes, p_ids, p_pseudonyms)
         where c.tenant_id = p_at.tenant_id and c.ctid = v_place;
      end loop;
    end loop;
    if v_left > 0 then
      -- That was the last one of this contact.
      p_at.at_number := v_contact + 1;
      p_at.at_set := 0;
      p_at.at_lot := 0;
    end if;
  end loop;
  if v_left = 0 then
    return p_at;
  end if;

  if p_at.changed_sets = '{}' then
    p_at.stage := 'imports';
  else
    perform erase_set_statistics(p_at.tenant_id, p_at.changed_sets[1], p_ids);
    p_at.changed_sets := p_at.changed_sets[2:];
  end if;
  return p_at;
end $$;
