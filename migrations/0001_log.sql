-- The event log. Everything else in this database can be rebuilt from these two tables.

-- One row per tenant (one board of education). It is the lock under which positions are given, and the
-- checkpoint of the read models, which move in the same transaction. Not under row-level security:
-- it is the directory of tenants and holds nothing of a roster.
create table tenants (
    tenant      text collate "C" primary key check (tenant ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name        text        not null,
    head        bigint      not null default 0,       -- position of the last event
    projected   bigint      not null default 0,       -- position at which the read models stand
    read_models text        not null default '',      -- fingerprint of the projection files that made them
    recorded_at timestamptz not null default 'epoch', -- of the last append; only ever grows
    created_at  timestamptz not null default now()
) with (fillfactor = 50); -- updated with every append: room for heap-only updates

create table events (
    tenant         text collate "C" not null, -- exists: its row in tenants gave the position (a foreign key costs 8 µs an event)
    position       bigint           not null, -- 1, 2, 3, … per tenant, no gaps, in commit order
    unit           bigint           not null, -- first position of the unit of work this event belongs to
    aggregate_type text collate "C" not null,
    aggregate_id   text collate "C" not null, -- '<tenant>/<sourcedId>', the key the stock repository asks by
    sequence       bigint           not null, -- 1, 2, 3, … per aggregate
    event_type     text             not null,
    event_version  text             not null,
    payload        json             not null, -- json, not jsonb: keeps bytes and member order, cheaper to append
    metadata       json             not null,
    recorded_at    timestamptz      not null,
    primary key (tenant, position),
    constraint events_optimistic_lock unique (aggregate_type, aggregate_id, sequence),
    constraint events_aggregate_of_tenant check (starts_with(aggregate_id, tenant || '/'))
);

-- Nobody changes or removes an event. (Erasure of a person will be an event of its own.)
create function events_are_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'events are append-only' using errcode = 'insufficient_privilege';
end $$;
create trigger append_only before update or delete or truncate on events
    for each statement execute function events_are_append_only();

-- Safety net for a writer that gives no position, such as the stock postgres-es repository. The hub's own
-- append gives them in bulk: one row at a time is quadratic in large statements.
create function give_position() returns trigger language plpgsql as $$
begin
    new.tenant := split_part(new.aggregate_id, '/', 1);
    update tenants
       set head = head + 1,
           recorded_at = greatest(date_trunc('milliseconds', clock_timestamp()), recorded_at + interval '1 millisecond')
     where tenant = new.tenant
    returning head, head, recorded_at into new.position, new.unit, new.recorded_at;
    return new;
end $$;
create trigger position_by_default before insert on events
    for each row when (new.position is null) execute function give_position();

-- A command sent twice with one key is carried out once.
create table idempotency_keys (
    tenant         text collate "C" not null references tenants,
    key            text collate "C" not null check (length(key) between 1 and 255),
    first_position bigint           not null,
    last_position  bigint           not null, -- first - 1 when the unit of work held no event
    created_at     timestamptz      not null default now(),
    primary key (tenant, key)
);

-- Where each named reader of the log stands. The row is locked while a batch is being handled, so that of
-- many instances one handles it; it advances in the handler's transaction.
create table subscriptions (
    tenant     text collate "C" not null references tenants,
    name       text collate "C" not null,
    position   bigint           not null default 0,
    updated_at timestamptz      not null default now(),
    primary key (tenant, name)
) with (fillfactor = 50);

-- The tenant a connection works for. Unset means none: every policy then hides every row.
create function current_tenant() returns text language sql stable parallel safe
    as $$ select current_setting('rosterhub.tenant', true) $$;

-- Forced, so that the owner of the tables is bound as well. Every query names its tenant itself; the policy stands
-- behind it and must not steer plans: a `case` is no index condition and is taken to let half of the rows pass (an
-- equality would be taken to let one in two hundred), and the sub-select is evaluated once.
create procedure isolate_tenants(table_name text) language plpgsql as $$
begin
    execute format('alter table %I enable row level security', table_name);
    execute format('alter table %I force row level security', table_name);
    execute format('create policy tenant on %I
        using (case when tenant = (select current_tenant()) then true else false end) with check (tenant = current_tenant())', table_name);
end $$;

call isolate_tenants('events');
call isolate_tenants('idempotency_keys');
call isolate_tenants('subscriptions');
