-- What of a set is not kept as it stands in its files, counted.
alter table import_jobs add column conversions json not null default '[]';
