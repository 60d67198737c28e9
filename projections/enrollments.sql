-- Enrollments: which user stands in which class, as what.
-- events: enrollment
select c.tenant, c.sourced_id, c.since, c.sequence, c.status, c.date_last_modified, c.digest,
       (r.class)."sourcedId", (r.school)."sourcedId", (r."user")."sourcedId", r.role, r."primary", r."beginDate", r."endDate",
       document(c.sourced_id, c.status, c.date_last_modified, '', c.record) as doc
  from changes c,
       json_to_record(c.record) as r(
         class guid_ref, school guid_ref, "user" guid_ref, role text, "primary" boolean, "beginDate" date, "endDate" date)
