-- Notices: events about the hub itself. See docs/decisions/0022-notices.md.
create table notices (
    tenant      text collate "C" not null, -- exists: its row in notice_heads gave the number
    number      bigint      not null,      -- 1, 2, 3, … per tenant, no gaps, in commit order
    position    bigint      not null,      -- head of the tenant's log when it was told; never less than that of the one before
    kind        text collate "C" not null, -- for example import.applied
    data        json        not null,      -- no personal data
    recorded_at timestamptz not null,      -- whole milliseconds
    primary key (tenant, number)
);
call isolate_tenants('notices');

-- The last number given, locked by who tells until its commit. Not under row-level security: all tenants' are looked at
-- together, and nothing of a roster is in it.
create table notice_heads (
    tenant text collate "C" primary key references tenants,
    number bigint not null
) with (fillfactor = 50); -- updated with every notice: room for heap-only updates
