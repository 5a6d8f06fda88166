-- Sums by tenant: what the ledgers of all sets of a tenant added to their counters in each quarter of an hour, as far as they
-- were rolled up. A series of a tenant reads these rows, however many sets there are. The columns are those of
-- statistics_checkpoints.
create table statistics_tenant_flows (
  bucket     timestamptz not null,
  assigned   bigint not null,
  reserved   bigint not null,
  released   bigint not null,
  void       bigint not null,
  sent       bigint not null,
  used       bigint not null,
  withdrawn  bigint not null,
  for_others bigint not null,
  tenant_id  integer not null,
  constraint statistics_tenant_flows_pkey primary key (tenant_id, bucket)
) with (fillfactor = 50);

-- The roll-up begins anew, so that these sums contain everything. Until it has caught up, the statistics of long ledgers are
-- rejected. One by the previous version, which does not know the sums, fails from here on by the new name of the column.
alter table statistics_progress rename column number to rolled_up;
truncate statistics_progress, statistics_checkpoints, statistics_sources, statistics_shares, statistics_expiries;

select protect_tenant_rows('statistics_tenant_flows');
grant select, insert, update, delete on statistics_tenant_flows to couponry_app;
