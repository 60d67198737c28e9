-- Imports that are planned and looked at before they are applied, and taken back afterwards.
alter table import_jobs
    drop constraint import_jobs_state_check,
    add constraint import_jobs_state_check check (state in (
        'queued', 'reading', 'planning', 'planned', 'held', 'applying', 'completed', 'failed', 'discarded', 'cancelled')),
    add column kind          text   not null default 'import' check (kind in ('import', 'revert')),
    add column reverts       uuid,                       -- of a revert: the import that it takes back
    add column client_id     text   not null default '', -- of who asked for it
    add column options       json   not null default '{}', -- how it is to be carried out
    add column modes         json   not null default '[]', -- per type: do its rows tell all, or changes?
    add column plan          uuid,                       -- new at each planning
    add column planned_at    bigint,                     -- position of the roster that the plan was made on
    add column schools       json   not null default '[]', -- per org: counts as in changes
    add column thresholds    json   not null default '[]', -- those that the plan passes
    add column conflicts     bigint not null default 0,  -- of a revert: records that changed since
    add column difference    json,                       -- of this plan to the one that was approved
    add column left_out      json   not null default '{}', -- rows with errors that are passed over, per file
    add column not_withdrawn json   not null default '[]', -- types of which therefore nothing is withdrawn as absent
    add column approved_by   text,
    add column expires_at    timestamptz;                -- of a plan that waits for a decision
