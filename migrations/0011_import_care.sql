-- What becomes of imports' errors in the long run, and what tells one installation's files from another's.
alter table import_jobs
    add column errors_kept    bigint,                     -- errors that are listed, when not all of them are
    add column errors_by_code json not null default '{}'; -- how often each code is among those that were listed
create index import_jobs_with_errors on import_jobs (tenant, finished_at)
    where finished_at is not null and errors > 0 and errors_kept is distinct from 0;

-- One row: names the installation. Files that are kept for it outside of the database stand below this name.
create table installation (
    id     text    not null,
    single boolean primary key default true check (single)
);
insert into installation (id) values (md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text));
