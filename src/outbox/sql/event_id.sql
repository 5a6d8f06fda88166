-- Returns an id for an event: a UUIDv7, so that ids of one time are adjacent in their index.
create or replace function event_id()
returns uuid
language sql
volatile
return encode(
  set_bit(
    set_bit(
      overlay(
        uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
      52, 1),
    53, 1),
  'hex')::uuid;
