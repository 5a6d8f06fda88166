-- Workflows: who uses a set, as the engine that runs them tells it. And from how many codes on a set is low.

-- Null: nobody asked to be told. Zero is a threshold too: the set is low when it is empty.
alter table coupon_sets
  add column low_stock_threshold integer,
  add constraint coupon_sets_low_stock_threshold_check check (low_stock_threshold >= 0);
