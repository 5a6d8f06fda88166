-- Deletes at most `p_rows` deliveries that ended more than `p_days` days ago, and returns their number. With `p_deleted`, for a
-- webhook that was deleted, it deletes any delivery. It deletes the row of the webhook once none is left and an hour has
-- passed, since then none can be under way.
create or replace function clean_webhook(
  p_tenant integer, p_webhook_no integer, p_deleted boolean, p_days integer, p_rows integer)
returns integer
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_until timestamptz := clock_timestamp() - make_interval(days => p_days);
  v_rows  integer;
begin
  perform enter_tenant(p_tenant);
  if not p_deleted then
    delete from webhook_deliveries d
     where d.tenant_id = p_tenant
       and d.ctid = any (array(
             select o.ctid
               from webhook_deliveries o
              where o.tenant_id = p_tenant and o.webhook_no = p_webhook_no
                and o.occurred_at < v_until and o.ended_at < v_until
              order by o.occurred_at, o.delivery_no
              limit p_rows
                for update skip locked));
    get diagnostics v_rows = row_count;
    return v_rows;
  end if;
  delete from webhook_deliveries d
   where d.tenant_id = p_tenant
     and d.ctid = any (array(
           select o.ctid
             from webhook_deliveries o
            where o.tenant_id = p_tenant and o.webhook_no = p_webhook_no
            order by o.delivery_no
            limit p_rows
              for update skip locked));
  get diagnostics v_rows = row_count;
  if v_rows = 0 then
    delete from webhooks w
     where w.tenant_id = p_tenant and w.webhook_no = p_webhook_no and w.state = 'deleted'
       and w.updated_at < clock_timestamp() - interval '1 hour';
  end if;
  return v_rows;
end $$;
