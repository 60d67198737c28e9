-- Keys of `metadata` that records of a tenant have ever had, by type; made from the log. See src/log/metadata_keys.rs.
create table metadata_keys (
    tenant         text collate "C" not null references tenants,
    aggregate_type text collate "C" not null,
    key            text collate "C" not null,
    primary key (tenant, aggregate_type, key)
);

-- Events of all tenants are gone through, which no tenant may.
alter table events no force row level security;
insert into metadata_keys (tenant, aggregate_type, key)
select distinct e.tenant, e.aggregate_type, m.key
  from events e, lateral json_object_keys(e.payload -> 'record' -> 'metadata') m (key);
alter table events force row level security;

call isolate_tenants('metadata_keys');
