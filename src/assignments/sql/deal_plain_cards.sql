-- Deals the next cards of sets that `assign_plain` has locked to its items, and reads all that decides whether an item is
-- plain. `are_plain`: all are; `are_new`: some contact is to be inserted. The items of `assign_plain` are places in `p_keys`
-- and `p_contacts`.
create or replace function deal_plain_cards(
  p_sets locked_set[], p_keys uuid[], p_contacts text[], p_at timestamptz,
  out rows plain_assignment[], out are_plain boolean, out are_new boolean)
language plpgsql
as $$
begin
  select array_agg((
           d.item, d.tenant_id, d.set_no, d.number, d.lot_no, d.ordinal, d.code, d.at,
           least(d.expires_at, d.set_expires_at, case when d.valid_for_days is not null then
             (d.at at time zone d.timezone + make_interval(days => d.valid_for_days)) at time zone d.timezone end),
           d.timezone, d.attributes, coalesce(c.contact_no, nextval('contacts_contact_no_seq')), c.contact_no is null,
           coalesce(latest.contact_seq, 0) + 1,
           d.plain and c.merged_into is null and own.number is null and answer.number is null
             and not (d.holds and latest.contact_seq is not null),
           d.import_id)::plain_assignment),
         bool_and(
           d.plain and c.merged_into is null and own.number is null and answer.number is null
             and not (d.holds and latest.contact_seq is not null)),
         bool_or(c.contact_no is null)
    into rows, are_plain, are_new
    from (
      select h.tenant_id, h.set_no, h.holds, h.valid_for_days, h.timezone, h.set_expires_at,
             h.first + card.ordinal - h.ordinal - 1 as item,
             h.number + card.ordinal - h.ordinal as number, h.at, h.lot_no, h.import_id, card.ordinal, card.code,
             card.expires_at, card.attributes,
             h.withdrawn = 0 and (h.first_expires_at is null or h.first_expires_at > h.at)
               and (h.set_expires_at is null or h.set_expires_at > h.at) as plain
        from (
          select s.tenant_id, s.set_no, s.first, s.count, s.holds, s.valid_for_days, s.timezone, s.expires_at as set_expires_at,
                 greatest(entry.number, last.number, 0) as number, greatest(p_at, entry.at, last.at) as at,
                 lot.lot_no, lot.import_id, lot.first_expires_at, lot.withdrawn,
                 case when last.lot_no = lot.lot_no then last.ordinal else coalesce(dealt.ordinal, 0) end as ordinal
            from unnest(p_sets) s
           cross join lateral (
              select l.lot_no, l.import_id, l.first_expires_at, l.withdrawn
                from lots l
               where l.tenant_id = s.tenant_id and l.set_no = s.set_no
                 and l.state = 'open' and l.import_id is not null
               order by l.lot_no
               limit 1
            ) lot
            left join lateral (
              select e.number, e.recorded_at as at
                from ledger_entries e
               where e.tenant_id = s.tenant_id and e.set_no = s.set_no
               order by e.number desc
               limit 1
            ) entry on true
            left join lateral (
              select a.number, a.assigned_at as at, a.lot_no, a.ordinal
                from assignments a
               where a.tenant_id = s.tenant_id and a.set_no = s.set_no
               order by a.number desc
               limit 1
            ) last on true
            left join lateral (
              select a.ordinal
                from assignments a
               where last.lot_no <> lot.lot_no
                 and a.tenant_id = s.tenant_id and a.set_no = s.set_no and a.lot_no = lot.lot_no
               order by a.ordinal desc
               limit 1
            ) dealt on true
          offset 0
        ) h
       cross join lateral (
         select c.ordinal, c.code, c.expires_at, c.attributes
           from cards c
          where c.tenant_id = h.tenant_id and c.set_no = h.set_no and c.lot_no = h.lot_no
            and c.ordinal > h.ordinal and c.ordinal <= h.ordinal + h.count
          order by c.ordinal
       ) card
      offset 0
    ) d
    left join lateral (
      select c.contact_no, c.merged_into
        from contacts c
       where c.tenant_id = d.tenant_id and c.contact_id between p_contacts[d.item] and p_contacts[d.item]
       order by c.contact_id
       limit 1
    ) c on true
    left join lateral (
      select a.number
        from assignments a
       where a.tenant_id = d.tenant_id and a.requested_set_no = d.set_no
         and a.key_hash between p_keys[d.item] and p_keys[d.item]
       order by a.key_hash
       limit 1
    ) own on true
    left join lateral (
      select n.number
        from assignment_answers n
       where n.tenant_id = d.tenant_id and n.requested_set_no = d.set_no
         and n.key_hash between p_keys[d.item] and p_keys[d.item]
       order by n.key_hash
       limit 1
    ) answer on true
    left join lateral (
      select a.contact_seq
        from assignments a
       where a.tenant_id = d.tenant_id and a.contact_no = c.contact_no and a.requested_set_no = d.set_no
       order by a.contact_seq desc
       limit 1
    ) latest on true;
end $$;
