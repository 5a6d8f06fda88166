-- Returns the number of expired cards of a lot. They are its first ones, so a binary search finds the last of them.
create or replace function expired_cards(p_tenant integer, p_set_no integer, p_lot_no integer, p_size integer, p_at timestamptz)
returns integer
language plpgsql
stable
as $$
declare
  v_expired integer := 0;
  v_most    integer := p_size;
  v_probe   integer;
  v_expiry  timestamptz;
begin
  while v_expired < v_most loop
    v_probe := v_expired + (v_most - v_expired + 1) / 2;
    select c.expires_at into v_expiry
      from cards c
     where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = p_lot_no and c.ordinal = v_probe;
    if v_expiry <= p_at then
      v_expired := v_probe;
    else
      v_most := v_probe - 1;
    end if;
  end loop;
  return v_expired;
end $$;
