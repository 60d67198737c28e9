-- Tamper evidence: each event is committed to by a salted hash, and the hashes are the leaves of a Merkle tree per
-- tenant. See docs/decisions/0024-tamper-evidence.md.

-- `salt` hides what a leaf commits to from those who would guess it. Erasing an event destroys its salt and its
-- payload and leaves the commitment, SHA-256 of the salt and the payload, in their place.
alter table events
    add column salt       uuid default gen_random_uuid(),
    add column commitment bytea,
    add constraint events_commitment check ((salt is null) = (commitment is not null));

drop trigger append_only on events;
create trigger append_only before delete or truncate on events
    for each statement execute function events_are_append_only();

-- The one change of an event that there is: erasure, and only with the commitment that belongs to what was there.
create function only_erasure() returns trigger language plpgsql as $$
begin
    if (old.tenant, old.position, old.unit, old.aggregate_type, old.aggregate_id, old.sequence, old.event_type,
        old.event_version, old.metadata::text, old.recorded_at)
       is distinct from
       (new.tenant, new.position, new.unit, new.aggregate_type, new.aggregate_id, new.sequence, new.event_type,
        new.event_version, new.metadata::text, new.recorded_at)
       or new.salt is not null
       or new.commitment is distinct from sha256(uuid_send(old.salt) || convert_to(old.payload::text, 'UTF8')) then
        raise exception 'events are append-only' using errcode = 'insufficient_privilege';
    end if;
    return new;
end $$;
create trigger only_erasure before update on events for each row execute function only_erasure();

-- How far each tenant's tree has grown. Not under row-level security: whoever grows trees looks at all tenants'
-- together, and there is nothing in it but a number and a hash.
create table audit_trees (
    tenant text collate "C" primary key references tenants,
    size   bigint not null, -- leaves: the events at positions 1 to size
    root   bytea  not null,
    signed bigint not null default 0 -- size of the last checkpoint
) with (fillfactor = 50);

-- The nodes of the trees, as C2SP tlog-tiles has them: up to 256 hashes of 32 bytes; those of level 0 are leaves, those
-- of level n + 1 are the roots of whole tiles of level n.
create table audit_tiles (
    tenant text collate "C" not null,
    level  smallint         not null,
    number bigint           not null, -- within the level, from 0
    hashes bytea            not null,
    primary key (tenant, level, number)
);
alter table audit_tiles alter column hashes set storage external; -- hashes cannot be compressed
call isolate_tenants('audit_tiles');

create table audit_checkpoints (
    tenant     text collate "C" not null references tenants,
    size       bigint           not null,
    note       text             not null, -- C2SP signed note
    created_at timestamptz      not null default now(),
    primary key (tenant, size)
);
call isolate_tenants('audit_checkpoints');

-- The keys that sign checkpoints. The newest signs; all verify.
create table audit_keys (
    public_key bytea       primary key,
    sealed     bytea       not null,
    created_at timestamptz not null default clock_timestamp()
);
