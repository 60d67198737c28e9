-- In which encoding each file of an import was.
alter table import_jobs add column encodings json not null default '{}';
