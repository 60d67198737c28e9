-- How far a client has taken the change feed, under names of its own, and what of it it takes.
create table feed_cursors (
    tenant          text collate "C" not null references tenants,
    client          text collate "C" not null, -- client_id
    name            text collate "C" not null check (length(name) between 1 and 64),
    types           text[]           not null, -- record types; empty: all
    kinds           text[]           not null, -- kinds of changes; empty: all
    school          text,
    sourced_id      text,
    with_values     boolean          not null,
    position        bigint           not null check (position >= 0), -- acknowledged up to here
    acknowledged_at timestamptz,
    created_at      timestamptz      not null default now(),
    primary key (tenant, client, name)
) with (fillfactor = 50);
call isolate_tenants('feed_cursors');
