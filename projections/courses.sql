-- Courses: what is taught, at which org, in which school year.
-- events: course
select c.tenant, c.sourced_id, c.since, c.sequence, c.status, c.date_last_modified, c.digest,
       (r."schoolYear")."sourcedId", fold(r.title), r."courseCode", r.grades, (r.org)."sourcedId", array(select fold(s) from unnest(r.subjects) s), r."subjectCodes",
       document(c.sourced_id, c.status, c.date_last_modified, '', c.record) as doc
  from changes c,
       json_to_record(c.record) as r(
         "schoolYear" guid_ref, title text, "courseCode" text, grades text[], org guid_ref, subjects text[], "subjectCodes" text[])
