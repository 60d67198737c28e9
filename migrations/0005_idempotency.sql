-- Idempotency keys belong to a client, know their request and what it was answered.
alter table idempotency_keys
    add column client  text collate "C" not null default '',
    add column request bytea            not null default '', -- digest of the request
    add column answer  json             not null default 'null', -- what happened to which record; no document
    drop constraint idempotency_keys_pkey,
    add primary key (tenant, client, key);
create index idempotency_keys_by_time on idempotency_keys (tenant, created_at); -- old ones are dropped
