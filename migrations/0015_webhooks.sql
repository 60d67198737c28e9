-- Webhooks: endpoints that are told of changes, and what became of each message.

create table webhook_endpoints (
    tenant      text collate "C" not null references tenants,
    id          uuid             not null,
    client      uuid             not null references clients, -- is told what this client may see
    url         text             not null,
    description text             not null default '',
    types       text[]           not null,                    -- event types, as they were asked for: with wildcards
    filter      text,                                         -- of records, in the grammar of OneRoster's filters
    payload     text             not null check (payload in ('thin', 'full')),
    ordering    text             not null check (ordering in ('parallel', 'record', 'fifo')),
    imports     text             not null check (imports in ('summary', 'records')),
    headers     bytea,                                        -- sealed: a JSON object of names and values
    rate        integer check (rate > 0),                     -- requests a second, at most
    state       text             not null check (state in ('unverified', 'active', 'paused', 'disabled')),
    reason      text,                                         -- of being disabled
    challenge   text             not null,                    -- of the address as it stands
    verified_at timestamptz,
    created_at  timestamptz      not null default now(),
    updated_at  timestamptz      not null default now(),
    primary key (tenant, id)
);
call isolate_tenants('webhook_endpoints');

create table webhook_secrets (
    tenant     text collate "C" not null,
    id         uuid             not null,
    endpoint   uuid             not null,
    kind       text             not null check (kind in ('hmac', 'ed25519')),
    sealed     bytea            not null,
    created_at timestamptz      not null default clock_timestamp(),
    expires_at timestamptz,
    primary key (tenant, endpoint, id),
    foreign key (tenant, endpoint) references webhook_endpoints on delete cascade
);
call isolate_tenants('webhook_secrets');

-- How far each endpoint is, and which instance delivers to it. Not under row-level security: instances look here for
-- work of all tenants, and it holds nothing but numbers.
create table webhook_lanes (
    endpoint      uuid             primary key,
    tenant        text collate "C" not null references tenants,
    wanted        boolean          not null,            -- there is to be a delivery: the endpoint is active
    change        integer          not null default 1,  -- moves when the endpoint, or what waits for it, was changed by somebody
    client        uuid             not null references clients,
    owner         uuid,                                 -- instance
    lease_until   timestamptz,
    position      bigint           not null,            -- all up to here was delivered, or waits in webhook_deliveries
    notice        bigint           not null,            -- so were all notices up to here
    sequence      bigint           not null default 0,  -- of the last message
    last_position bigint           not null default 0,  -- that the last message stood at
    generation    integer          not null default 1,  -- moves with a replay, so that its messages have ids of their own
    replay_from   bigint,                               -- asked for, and not begun
    failing_since timestamptz,                          -- first failure after the last success
    warned        integer          not null default 0   -- warnings of being disabled that were told since
) with (fillfactor = 50);
create index webhook_lanes_free on webhook_lanes (lease_until) where wanted;

create table webhook_workers (
    instance uuid        primary key,
    seen_at  timestamptz not null
);

-- Messages that were sent, or wait to be sent again. Their bodies are not kept: the log has what they are made of.
create table webhook_deliveries (
    tenant            text collate "C" not null,
    endpoint          uuid             not null,
    sequence          bigint           not null,
    message           text             not null, -- webhook-id
    type              text             not null,
    position          bigint           not null,
    previous_position bigint           not null,
    notice            bigint,                    -- the notice that it tells; none: the event at its position
    generation        integer          not null,
    record            text,                      -- whose it is: '<type>/<sourcedId>' of the person or record
    state             text             not null check (state in ('pending', 'delivered', 'failed', 'discarded')),
    attempts          integer          not null default 0,
    first_attempt_at  timestamptz,
    next_attempt_at   timestamptz,
    finished_at       timestamptz,
    created_at        timestamptz      not null,
    primary key (tenant, endpoint, sequence) -- the endpoint exists while its lane has an owner; a foreign key costs 8 µs a row
) with (fillfactor = 80);
create index webhook_deliveries_pending on webhook_deliveries (tenant, endpoint, sequence) where state = 'pending';
create index webhook_deliveries_failed on webhook_deliveries (tenant, endpoint, sequence) where state = 'failed';
create index webhook_deliveries_message on webhook_deliveries (tenant, message);
create index webhook_deliveries_finished on webhook_deliveries (tenant, finished_at) where finished_at is not null;
call isolate_tenants('webhook_deliveries');

create table webhook_attempts (
    tenant     text collate "C" not null,
    endpoint   uuid             not null,
    sequence   bigint           not null,
    attempt    integer          not null, -- 1, 2, 3, …
    at         timestamptz      not null,
    status     smallint,                  -- of the answer, if there was one
    failure    text,
    latency_ms real             not null,
    excerpt    text             not null default '',
    primary key (tenant, endpoint, sequence, attempt)
);
create index webhook_attempts_time on webhook_attempts (tenant, endpoint, at);
call isolate_tenants('webhook_attempts');

-- Where an import ends, and which notices a replay begins after.
create index notices_position on notices (tenant, position);
