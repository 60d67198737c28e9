-- Lineage: which org stands below which, and which academic session. Keyed by '<type>/<sourcedId>' of the child.
-- events: org academicSession
select c.tenant, c.aggregate_type || '/' || c.sourced_id as sourced_id, c.since, c.sequence, c.status, c.date_last_modified, c.digest,
       c.aggregate_type || '/' || (c.record -> 'parent' ->> 'sourcedId'), c.sourced_id as child_sourced_id, '' as doc
  from changes c
