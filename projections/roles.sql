-- Roles: parts of a user. `doc` is the member of the user's `roles` as clients see it.
-- events: role
select c.tenant, c.sourced_id, c.since, c.sequence, c.status, c.date_last_modified, c.digest,
       (r."user")."sourcedId", r."roleType", r.role, r."beginDate", r."endDate", r.org ->> 'sourcedId', r."userProfile",
       json_strip_nulls(json_build_object(
         'roleType', r."roleType", 'role', r.role, 'org', r.org, 'userProfile', r."userProfile",
         'beginDate', r."beginDate", 'endDate', r."endDate"))::text as doc
  from changes c,
       json_to_record(c.record) as r(
         "user" guid_ref, "roleType" text, role text, "beginDate" date, "endDate" date, org json, "userProfile" text)
