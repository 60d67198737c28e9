-- How far a client has taken the roster, under names of its own: the position of the last set that it acknowledged.
create table export_cursors (
    tenant     text collate "C" not null references tenants,
    client     text collate "C" not null, -- client_id
    name       text collate "C" not null check (length(name) between 1 and 64),
    position   bigint           not null check (position >= 0),
    updated_at timestamptz      not null default now(),
    primary key (tenant, client, name)
);
call isolate_tenants('export_cursors');
