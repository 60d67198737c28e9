-- Import jobs: what came in, what became of it, and every error found.
create table import_jobs (
    tenant       text collate "C" not null references tenants,
    id           uuid             not null,
    state        text             not null check (state in ('queued', 'reading', 'planning', 'applying', 'completed', 'failed')),
    file_name    text             not null,
    bytes        bigint           not null,
    sha256       bytea,
    edition      text,
    client       text             not null, -- who asked for it
    rows         json             not null default '{}', -- rows read per file
    changes      json             not null default '{}', -- per entity: created, changed, withdrawn, restored, unchanged
    phases       json             not null default '{}', -- seconds per phase
    errors       bigint           not null default 0,
    failure      text,                      -- why, when it failed for another reason than errors in the data
    position     bigint,                    -- of the roster once the import had been applied
    created_at   timestamptz      not null default now(),
    finished_at  timestamptz,
    primary key (tenant, id)
);
create index import_jobs_by_time on import_jobs (tenant, created_at desc, id);
create index import_jobs_unfinished on import_jobs (id) where finished_at is null;

create table import_errors (
    tenant  text collate "C" not null,
    job     uuid             not null,
    number  bigint           not null, -- 1, 2, 3, … in the order found
    file    text             not null,
    line    bigint           not null, -- 1 is the header; 0 when the whole file is meant
    "column" text            not null,
    code    text             not null,
    value   text             not null, -- masked where the column is personal
    primary key (tenant, job, number),
    foreign key (tenant, job) references import_jobs on delete cascade
);

call isolate_tenants('import_jobs');
call isolate_tenants('import_errors');

-- Rows of files being imported live here, one unlogged table per job, dropped when the job ends.
create schema staging;

-- Bearer tokens: 256 random bits, of which only the SHA-256 is kept. Looked up before the tenant is known.
create table tokens (
    token_hash bytea       primary key,
    id         uuid        not null unique,
    tenant     text collate "C" not null references tenants,
    name       text        not null,
    scopes     text[]      not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
