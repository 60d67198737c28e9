-- Classes: homerooms and scheduled classes, each of one course and one school.
-- events: class
select c.tenant, c.sourced_id, c.since, c.sequence, c.status, c.date_last_modified, c.digest,
       fold(r.title), r.grades, (r.course)."sourcedId", r."classCode", r."classType", fold(r.location),
       (r.school)."sourcedId", array(select t."sourcedId" from unnest(r.terms) t), array(select fold(s) from unnest(r.subjects) s), r."subjectCodes", r.periods,
       document(c.sourced_id, c.status, c.date_last_modified, '', c.record) as doc
  from changes c,
       json_to_record(c.record) as r(
         title text, grades text[], course guid_ref, "classCode" text, "classType" text, location text,
         school guid_ref, terms guid_ref[], subjects text[], "subjectCodes" text[], periods text[])
