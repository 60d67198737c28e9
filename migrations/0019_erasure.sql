-- People who were erased, and those who must not be. See docs/decisions/0025-erasure.md.
create table erasures (
    tenant     text collate "C" not null references tenants,
    id         uuid             not null,
    sourced_id text collate "C" not null, -- of the user
    request    text             not null, -- what it was asked by: a reference, no name
    client     text             not null, -- who carried it out
    position   bigint           not null, -- of the event that tells of it
    events     bigint           not null, -- emptied
    records    bigint           not null, -- that they were of
    created_at timestamptz      not null default now(),
    cleaned_at timestamptz,               -- when the space of what was there had been freed
    lifted_at  timestamptz,               -- from then on the person may be recorded again
    lifted_by  text,
    primary key (tenant, id)
);
create index erasures_by_person on erasures (tenant, sourced_id);
call isolate_tenants('erasures');

create table legal_holds (
    tenant      text collate "C" not null references tenants,
    id          uuid             not null,
    sourced_id  text collate "C" not null,
    reason      text             not null, -- a reference, no name
    client      text             not null,
    created_at  timestamptz      not null default now(),
    released_at timestamptz,
    released_by text,
    primary key (tenant, id)
);
create index legal_holds_by_person on legal_holds (tenant, sourced_id) where released_at is null;
call isolate_tenants('legal_holds');
