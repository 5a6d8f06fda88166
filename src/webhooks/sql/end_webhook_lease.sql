-- Ends the lease of a sender: stores the results of its attempts, the time when the next delivery is due, and since when
-- the endpoint fails. `p_delays` are the seconds until the next attempt, null if there is none. `p_succeeded` is true if an
-- attempt succeeded, null if there was none. Returns true if the endpoint has failed for `p_patience` seconds and receives
-- no more events; null if the lease belongs to another sender by now.
--
-- Writers of deliveries lock the row of the webhook too, so under the lock all waiting deliveries are visible.
create or replace function end_webhook_lease(
  p_tenant integer, p_webhook_no integer, p_epoch integer, p_delivery_nos bigint[], p_states text[],
  p_delays double precision[], p_attempts jsonb[], p_succeeded boolean, p_patience double precision)
returns boolean
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set lock_timeout = '5s'
as $$
declare
  v_webhook  webhooks;
  v_given_up boolean;
begin
  perform enter_tenant(p_tenant);
  select w.* into v_webhook
    from webhooks w
   where w.tenant_id = p_tenant and w.webhook_no = p_webhook_no and w.epoch = p_epoch
     for no key update;
  if not found then
    return null;
  end if;

  -- The last 20 attempts are kept.
  update webhook_deliveries d
     set attempts = d.attempts + 1,
         state = r.state,
         next_attempt_at = clock_timestamp() + make_interval(secs => r.delay),
         ended_at = case when r.delay is null then clock_timestamp() end,
         attempt_log =
           case when jsonb_array_length(d.attempt_log) < 20 then d.attempt_log else d.attempt_log - 0 end || r.attempt
    from unnest(p_delivery_nos, p_states, p_delays, p_attempts) as r (delivery_no, state, delay, attempt)
   cross join lateral (
     select f.ctid
       from webhook_deliveries f
      where f.tenant_id = p_tenant and f.webhook_no = p_webhook_no
        and f.delivery_no between r.delivery_no and r.delivery_no
      order by f.delivery_no
      limit 1
   ) found
   where d.tenant_id = p_tenant and d.ctid = found.ctid;

  v_given_up := coalesce(
    v_webhook.state = 'enabled' and not p_succeeded
      and v_webhook.failing_since < clock_timestamp() - make_interval(secs => p_patience),
    false);
  update webhooks w
     set lease_until = null,
         next_due_at = (
           select min(due.at)
             from (
               (select clock_timestamp() as at
                  from webhook_deliveries d
                 where d.tenant_id = p_tenant and d.webhook_no = p_webhook_no and d.state = 'waiting' and d.attempts = 0
                 order by d.delivery_no + 0
                 limit 1)
               union all
               (select d.next_attempt_at
                  from webhook_deliveries d
                 where d.tenant_id = p_tenant and d.webhook_no = p_webhook_no and d.state = 'waiting' and d.attempts > 0
                 order by d.next_attempt_at, d.delivery_no
                 limit 1)
             ) due),
         failing_since = case
           when p_succeeded then null
           when not p_succeeded then coalesce(w.failing_since, clock_timestamp())
           else w.failing_since
         end,
         state = case when v_given_up then 'failed' else w.state end,
         updated_at = case when v_given_up then clock_timestamp() else w.updated_at end
   where w.tenant_id = p_tenant and w.webhook_no = p_webhook_no;
  return v_given_up;
end $$;
