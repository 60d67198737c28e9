-- The read models. Rows are written by projections/*.sql alone; see docs/projections.md.
--
-- Every table has the same frame: (tenant, sourced_id) and the version's own columns; then the entity's
-- typed columns, named after the CSV binding's columns and holding what is compared (text that is no code is folded);
-- then `doc`, the finished OneRoster JSON without addresses; then `until`, null while the version stands. `<table>_history` holds the versions that stood
-- before: a version stood at position N when since <= N and N < until.

create type guid_ref as ("sourcedId" text);                      -- as references stand in records
create type user_id as ("type" text, identifier text);

-- The document a client is sent: base members, derived members ('"roles":[…],' or ''), the record.
create function document(sourced_id text, status text, modified timestamptz, derived text, record json)
    returns text language sql stable parallel safe
    as $$ select '{"sourcedId":' || to_json(sourced_id)::text || ',"status":"' || status || '","dateLastModified":"'
        || to_char(modified at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
        || case when record::text = '{}' and derived = '' then '"}' else '",' || derived || substr(record::text, 2) end $$;

-- Text as it is compared: regardless of case, by Unicode's rules and not the database's locale.
create function fold(t text) returns text language sql immutable parallel safe
    as $$ select lower(t collate "und-x-icu") collate "C" $$;

create procedure create_read_model(table_name text, typed_columns text) language plpgsql as $$
begin
    -- Text is sorted by code points, whatever the database's locale.
    typed_columns := regexp_replace(typed_columns, '\mtext\M(\[\])?(?! collate)', 'text\1 collate "C"', 'g');
    execute format('create table %I (
        tenant             text collate "C" not null,
        sourced_id         text collate "C" not null,
        since              bigint           not null, -- first position of the unit of work that made this version
        sequence           bigint           not null, -- of the record''s own last event
        status             text collate "C" not null,
        date_last_modified timestamptz      not null,
        digest             bytea            not null, -- SHA-256 of the record: is an incoming one the same?
        %s,
        doc                text             not null,
        until              bigint,
        -- Always true. Indexes for readers begin with it, so that no lookup of a projection is led astray to them:
        -- what begins with the tenant looks cheap to a planner whose statistics do not know the tenant yet.
        listed             boolean          generated always as (true) stored,
        primary key (tenant, sourced_id))', table_name, typed_columns);
    execute format('create table %I (like %I including generated, primary key (tenant, sourced_id, since))',
                   table_name || '_history', table_name);
    call isolate_tenants(table_name);
    call isolate_tenants(table_name || '_history');
end $$;

call create_read_model('academic_sessions', '
    title text, type text, start_date date, end_date date, parent_sourced_id text collate "C", school_year text,
    children text[]');

call create_read_model('orgs', '
    name text, type text, identifier text, parent_sourced_id text collate "C",
    children text[]');

call create_read_model('courses', '
    school_year_sourced_id text collate "C", title text, course_code text, grades text[],
    org_sourced_id text collate "C", subjects text[], subject_codes text[]');

call create_read_model('classes', '
    title text, grades text[], course_sourced_id text collate "C", class_code text, class_type text, location text,
    school_sourced_id text collate "C", term_sourced_ids text[], subjects text[], subject_codes text[], periods text[]');

call create_read_model('users', '
    enabled_user boolean, username text, user_ids text[], given_name text, family_name text, middle_name text,
    identifier text, email text, sms text, phone text, agent_sourced_ids text[], grades text[],
    user_master_identifier text, preferred_given_name text, preferred_middle_name text, preferred_family_name text,
    primary_org_sourced_id text collate "C", pronouns text,
    roles text[], role_org_sourced_ids text[]');

call create_read_model('enrollments', '
    class_sourced_id text collate "C", school_sourced_id text collate "C", user_sourced_id text collate "C",
    role text, "primary" boolean, begin_date date, end_date date');

call create_read_model('demographics', '
    birth_date date, sex text, american_indian_or_alaska_native boolean, asian boolean,
    black_or_african_american boolean, native_hawaiian_or_other_pacific_islander boolean, white boolean,
    demographic_race_two_or_more_races boolean, hispanic_or_latino_ethnicity boolean, country_of_birth_code text,
    state_of_birth_abbreviation text, city_of_birth text, public_school_residence_status text');

-- Parts of a user: OneRoster nests them, so they have no collection of their own.
call create_read_model('roles', '
    user_sourced_id text collate "C", role_type text, role text, begin_date date, end_date date,
    org_sourced_id text collate "C", user_profile_sourced_id text collate "C"');

call create_read_model('user_profiles', '
    user_sourced_id text collate "C", profile_type text, vendor_id text, application_id text, description text,
    credential_type text, username text');

-- Which record stands below which, for orgs and academic sessions: from it come their `children`.
call create_read_model('lineage', 'parent_sourced_id text collate "C", child_sourced_id text collate "C"');

-- What the projections themselves look up. The tenant stands last: an index that begins with it looks cheap to a
-- planner whose statistics do not know the tenant yet, and would be gone through whole for each row.
create index roles_by_user                 on roles                 (user_sourced_id, tenant);
create index roles_history_by_user         on roles_history         (user_sourced_id, tenant);
create index user_profiles_by_user         on user_profiles         (user_sourced_id, tenant);
create index user_profiles_history_by_user on user_profiles_history (user_sourced_id, tenant);
create index lineage_by_parent             on lineage               (parent_sourced_id, tenant);
create index lineage_history_by_parent     on lineage_history       (parent_sourced_id, tenant);

-- What readers look up. The virtual collections, in the order they are paged:
create index users_by_role_student on users (listed, tenant, sourced_id) where roles @> '{student}';
create index users_by_role_teacher on users (listed, tenant, sourced_id) where roles @> '{teacher}';
-- nested collections:
create index roles_by_org              on roles       (org_sourced_id, tenant);
create index enrollments_by_class      on enrollments (class_sourced_id, tenant);
create index enrollments_by_user       on enrollments (user_sourced_id, tenant);
create index enrollments_by_school     on enrollments (school_sourced_id, tenant, sourced_id);
create index classes_by_school         on classes     (school_sourced_id, tenant);
create index classes_by_course         on classes     (course_sourced_id, tenant);
-- ways through the graph that Rostering has no operation for:
create index orgs_by_parent            on orgs              (parent_sourced_id, tenant);
create index sessions_by_parent        on academic_sessions (parent_sourced_id, tenant);
create index courses_by_org            on courses           (org_sourced_id, tenant);
create index courses_by_school_year    on courses           (school_year_sourced_id, tenant);
create index classes_by_term           on classes using gin (term_sourced_ids);
create index users_by_agent            on users   using gin (agent_sourced_ids) where agent_sourced_ids <> '{}';
-- what changed since a time, what is to be deleted, people by name:
create index users_by_time        on users        (listed, tenant, date_last_modified, sourced_id);
create index enrollments_by_time  on enrollments  (listed, tenant, date_last_modified, sourced_id);
create index demographics_by_time on demographics (listed, tenant, date_last_modified, sourced_id);
create index users_to_delete        on users        (listed, tenant, sourced_id) where status = 'tobedeleted';
create index enrollments_to_delete  on enrollments  (listed, tenant, sourced_id) where status = 'tobedeleted';
create index demographics_to_delete on demographics (listed, tenant, sourced_id) where status = 'tobedeleted';
create index users_by_name on users (listed, tenant, family_name, sourced_id);
create index users_by_username on users (username, tenant);
create index users_by_email on users (email, tenant);
create index users_by_identifier on users (identifier, tenant);
