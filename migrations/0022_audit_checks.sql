-- What the nightly checks came to: the log against its tree, the read models against the log.
create table audit_checks (
    tenant      text collate "C" not null references tenants,
    day         date             not null, -- UTC; one run a day, by whichever instance is first
    started_at  timestamptz      not null default now(),
    finished_at timestamptz,
    position    bigint,                    -- of the log as it was checked
    history     json,                      -- findings in the log; empty: none
    read_models json,                      -- first difference; null: none
    primary key (tenant, day)
);
call isolate_tenants('audit_checks');
