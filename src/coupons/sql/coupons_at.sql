-- Returns the coupons at these places of a set, in their order: up to `p_rows` that have the status, of any status if it is
-- null. A code that came in several times is returned only where it came in last. Lots that are being filled are skipped.
-- `place` is the position in the arrays.
--
-- The status is that of the ledger: an expired reservation is `reserved` until it is ended there, within seconds. The
-- contact is the one that it was merged into.
create or replace function coupons_at(
  p_tenant integer, p_set_no integer, p_lots integer[], p_ordinals integer[], p_status text, p_rows integer)
returns table (
  place bigint, code text, status text, contact_id text, number bigint, assigned_at timestamptz,
  import_id uuid, imported_at timestamptz, expires_at timestamptz, attributes jsonb)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_material = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_expires_at timestamptz;
begin
  select s.expires_at into v_expires_at
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = p_set_no;
  return query
    select q.place, c.code, f.status, p.contact_id, a.number, a.assigned_at, l.import_id, l.published_at,
           case when a.number is null then c.expires_at else a.valid_until end, c.attributes
      from unnest(p_lots, p_ordinals) with ordinality as q (lot_no, ordinal, place)
     cross join lateral (
       select c.code, c.occurrence, c.expires_at, c.attributes
         from cards c
        where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = q.lot_no
          and c.ordinal between q.ordinal and q.ordinal
        order by c.ordinal
        limit 1
     ) c
     cross join lateral (
       select l.state, l.withdrawn, l.withdrawn_from, coalesce(l.import_id, o.import_id) as import_id,
              coalesce(l.published_at, o.published_at) as published_at
         from lots l
         left join lots o on o.tenant_id = l.tenant_id and o.set_no = l.set_no and o.lot_no = l.origin_lot_no
        where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no between q.lot_no and q.lot_no
        order by l.lot_no
        limit 1
     ) l
      left join lateral (
        select n.occurrence
          from cards n
          join lots m on m.tenant_id = n.tenant_id and m.set_no = n.set_no and m.lot_no = n.lot_no
         -- `+ 0` excludes the primary key, which would read the whole set.
         where n.tenant_id = p_tenant and n.code = c.code and n.set_no + 0 = p_set_no and n.occurrence > c.occurrence
           and m.state not in ('filling', 'cancelled')
         limit 1
      ) newer on true
      left join lateral (
        select a.number, a.contact_no, a.assigned_at, a.last_event, a.valid_until
          from assignment_lives a
         where a.tenant_id = p_tenant and a.set_no = p_set_no and a.lot_no = q.lot_no
           and a.ordinal between q.ordinal and q.ordinal
         order by a.lot_no, a.ordinal
         limit 1
      ) a on true
      left join lateral (
        select w.ordinal
          from withdrawals w
         where l.withdrawn > 0
           and w.tenant_id = p_tenant and w.set_no = p_set_no and w.lot_no = q.lot_no
           and w.ordinal between q.ordinal and q.ordinal
         order by w.ordinal
         limit 1
      ) w on true
     cross join lateral (
       select case
                when a.number is not null
                  then case when a.last_event is null or a.last_event = 'confirmed' then 'assigned' else a.last_event end
                when l.withdrawn_from is not null or w.ordinal is not null then 'withdrawn'
                when least(c.expires_at, v_expires_at) <= now() then 'expired'
                else 'available'
              end as status
     ) f
      left join lateral (
        select coalesce(r.contact_id, p.contact_id) as contact_id
          from contacts p
          left join lateral (
            select r.contact_id
              from contacts r
             where r.tenant_id = p_tenant and r.contact_no between p.merged_into and p.merged_into
             order by r.contact_no
             limit 1
          ) r on true
         where p.tenant_id = p_tenant and p.contact_no = a.contact_no
         limit 1
      ) p on true
     where l.state not in ('filling', 'cancelled') and newer.occurrence is null
       and (p_status is null or f.status = p_status)
     order by q.place
     limit p_rows;
end $$;
