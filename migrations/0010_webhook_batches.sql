-- Webhooks that receive several events in one message.
--
-- `max_batch`: the maximum number of events of a message. With 1 a message is one event, else a list of events.
alter table webhooks
  add column max_batch integer not null default 1,
  add constraint webhooks_max_batch_check check (max_batch between 1 and 100);
