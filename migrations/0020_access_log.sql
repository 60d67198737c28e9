-- Who received whose personal data. See docs/access.md. No foreign keys: their checks would cost more than the rows.

-- What was asked: many reads share a row. Its id has the time at which it was made, and is used for a day at most.
create table access_requests (
    tenant      text collate "C" not null,
    id          uuid not null, -- v7
    client      text not null, -- id, or cli
    client_name text not null,
    via         text not null, -- rest, graphql, feed, export, webhook, lost
    operation   text not null,
    endpoint    text not null, -- template of the route
    query       text not null, -- cut at 1,000 characters; cleared where it holds texts of an erased person
    primary key (tenant, id)
);
call isolate_tenants('access_requests');

-- Lists of the people whose data was in answers: the same people read again are the same list. Ids as above.
create table access_people (
    tenant text collate "C" not null,
    list   uuid             not null, -- v7
    person text collate "C" not null, -- sourcedId of the user
    primary key (tenant, list, person)
);
create index access_people_by_person on access_people (tenant, person, list);
call isolate_tenants('access_people');

-- A read. The people in the answer are `person`, if there was one, or `list`; in a wide read they were too many to list.
create table access_log (
    tenant   text collate "C" not null,
    id       uuid             not null, -- v7: in the order of time, with milliseconds
    request  uuid             not null,
    list     uuid,
    person   text collate "C",
    wide     boolean          not null,
    position bigint           not null, -- of the log, that was read at
    persons  bigint,                    -- how many people; null: not known
    records  bigint,                    -- how many records; of an export null until it was sent whole
    bytes    bigint,                    -- of the answer, before compression, where they were counted
    primary key (tenant, id)
);
-- Every row is in one of these at most.
create index access_log_by_person on access_log (tenant, person, id) where person is not null;
create index access_log_by_list on access_log (tenant, list, id) where list is not null;
create index access_log_wide on access_log (tenant, id) where wide;
call isolate_tenants('access_log');
