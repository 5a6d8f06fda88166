-- What a coupon set promises beyond its codes: how long they are valid, and what a contact gets who holds one already.

-- `same_code_until` is how long `sameCode` gives the same code again. `assignments_per_contact` caps `newCode`; null is no
-- cap. From `expires_at` on nothing of the set is handed out. A code is valid for `valid_for_days` days after its
-- assignment was made or confirmed, by the calendar of `timezone`, an IANA name; days without a time that come from
-- outside end at midnight there.
alter table coupon_sets
  add column same_code_until text not null default 'always',
  add column assignments_per_contact integer,
  add column expires_at timestamptz,
  add column timezone text not null default 'UTC',
  add column valid_for_days integer,
  add constraint coupon_sets_same_code_until_check check (same_code_until in ('used', 'expired', 'always')),
  add constraint coupon_sets_assignments_per_contact_check check (assignments_per_contact > 0),
  add constraint coupon_sets_valid_for_days_check check (valid_for_days > 0);

-- A set that expired stays `expired` when its last code goes; without a limit there is always something available.
create function coupon_set_state(p_expires_at timestamptz, p_available bigint)
returns text
language sql
stable
as $$
  select case
           when p_expires_at <= statement_timestamp() then 'expired'
           when p_available = 0 then 'exhausted'
           else 'active'
         end;
$$;

-- When the first card of a lot expires, null if none does; and when the last does, null if one never does. Within a lot
-- cards that expire come first, in that order (0002), so these are of its first and its last card.
alter table lots
  add column first_expires_at timestamptz,
  add column last_expires_at timestamptz;

-- Codes that came back are in lots without an import, one for each moment of expiry.
create index lots_returned_idx on lots (tenant_id, set_no, coalesce(first_expires_at, 'infinity'))
  where import_id is null;

-- A code of a small set may come back many thousand times.
alter table cards
  alter column turn type integer;
