-- Rejects the deletion of cards, except for those of cancelled lots, of deleted sets whose ledgers are being removed, and of
-- tenants that are being deleted.
create or replace function forbid_card_loss()
returns trigger
language plpgsql
as $$
begin
  if exists (
    select 1
      from gone g
     where not exists (
       select 1
         from lots l
        where l.tenant_id = g.tenant_id and l.set_no = g.set_no and l.lot_no = g.lot_no and l.state = 'cancelled')
       and not exists (
       select 1
         from coupon_sets s
        where s.tenant_id = g.tenant_id and s.set_no = g.set_no and s.ledger_state = 'removing')
       and not exists (
       select 1
         from tenants t
        where t.tenant_id = g.tenant_id and t.deletion_requested_at is not null))
  then
    raise exception 'permission denied: only cards of cancelled lots may be deleted'
      using errcode = 'insufficient_privilege';
  end if;
  return null;
end $$;

create or replace trigger forbid_card_loss
  after delete on cards
  referencing old table as gone
  for each statement
  execute function forbid_card_loss();
