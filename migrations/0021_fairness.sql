-- What is far behind, fails or is large keeps nobody else waiting: senders of webhooks, contacts that are erased, and the
-- reader of the outbox.

-- Endpoints that fail leave half of a sender's places to those that do not.
grant select (failing_since) on webhooks to couponry_system;
