-- Academic sessions, each with the children that name it as parent and are not to be deleted.
-- events: academicSession
-- edges: academicSession.parent
select w.tenant, w.sourced_id, w.since, w.sequence, w.status, w.date_last_modified, w.digest,
       fold(r.title), r.type, r."startDate", r."endDate", (r.parent)."sourcedId", r."schoolYear",
       children.ids,
       document(w.sourced_id, w.status, w.date_last_modified, children.member, w.record) as doc
  from wholes w,
       json_to_record(w.record) as r(
         title text, type text, "startDate" date, "endDate" date, parent guid_ref, "schoolYear" text),
       lateral (
         select array_agg(l.child_sourced_id order by l.child_sourced_id) as ids,
                coalesce('"children":[' || string_agg('{"sourcedId":' || to_json(l.child_sourced_id) || ',"type":"academicSession"}', ','
                         order by l.child_sourced_id) || '],', '') as member
           from (select * from lineage union all select * from lineage_history) l
          where l.tenant = w.tenant and l.parent_sourced_id = 'academicSession/' || w.sourced_id and l.status = 'active'
            and l.since <= w.since and (l.until is null or l.until > w.since)
       ) children
