-- Who may: clients, each of one tenant, what they prove themselves with, and the keys that sign their tokens.
-- Not under row-level security: they are asked before a tenant is known, and hold nothing of a roster.
create table clients (
    id           uuid        primary key,    -- the client_id
    tenant       text collate "C" not null references tenants,
    name         text        not null,
    scopes       text[]      not null,       -- full names, as in tokens
    networks     cidr[],                     -- where it may call from; null: from anywhere
    rate         integer check (rate > 0),   -- requests a second; null: as many as it likes
    burst        integer check (burst > 0),  -- requests at once
    created_at   timestamptz not null default now(),
    last_used_at timestamptz,                -- to the minute
    expires_at   timestamptz,
    revoked_at   timestamptz,
    check ((rate is null) = (burst is null))
);
create index clients_by_tenant on clients (tenant, created_at);

-- What a client proves itself with. The newest one is current; older ones end when their overlap is over.
create table credentials (
    client     uuid        not null references clients on delete cascade,
    id         text collate "C" not null,    -- public part of a secret: says which one is meant
    kind       text        not null check (kind in ('secret', 'api_key')),
    hash       text collate "C" not null,    -- a secret's argon2 hash; an API key's SHA-256, in hex: 256 random bits need no slow hash
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    primary key (client, id)
);
create unique index credentials_api_keys on credentials (hash) where kind = 'api_key';

-- Keys that sign access tokens (Ed25519). The newest one whose time has come signs; one that has been followed
-- verifies for as long as its tokens live.
create table signing_keys (
    id         text collate "C" primary key, -- the kid
    public_key bytea       not null,
    sealed     bytea       not null,         -- the private key, encrypted with the installation's secret key
    signs_from timestamptz not null
);

-- Replaced by clients with API keys.
drop table tokens;
