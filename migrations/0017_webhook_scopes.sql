-- What an endpoint may be told: the scopes of the token that registered it, as tokens name them. Those that are there
-- already have all of their client's.
alter table webhook_endpoints add column scopes text[];

-- Endpoints of all tenants are gone through, which no tenant may.
alter table webhook_endpoints no force row level security;
update webhook_endpoints e set scopes = c.scopes from clients c where c.id = e.client;
alter table webhook_endpoints force row level security;

alter table webhook_endpoints alter column scopes set not null;
