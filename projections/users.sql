-- Users, each with its active roles and profiles as they stood. A user that is to be deleted and has no active role
-- shows those it had: the standard wants at least one.
-- events: user
-- parts: role.user userProfile.user
select w.tenant, w.sourced_id, w.since, w.sequence, w.status, w.date_last_modified, w.digest,
       r."enabledUser", fold(r.username), array(select i.type || ':' || i.identifier from unnest(r."userIds") i),
       fold(r."givenName"), fold(r."familyName"), fold(r."middleName"), r.identifier, fold(r.email), fold(r.sms), fold(r.phone),
       array(select a."sourcedId" from unnest(r.agents) a), r.grades, r."userMasterIdentifier",
       fold(r."preferredFirstName"), fold(r."preferredMiddleName"), fold(r."preferredLastName"),
       (r."primaryOrg")."sourcedId", fold(r.pronouns),
       role.names, role.orgs,
       document(w.sourced_id, w.status, w.date_last_modified,
                '"roles":[' || coalesce(role.docs, '') || '],'
                || coalesce('"userProfiles":[' || profile.docs || '],', ''), w.record) as doc
  from wholes w,
       json_to_record(w.record) as r(
         "enabledUser" boolean, username text, "userIds" user_id[], "givenName" text, "familyName" text, "middleName" text,
         identifier text, email text, sms text, phone text, agents guid_ref[], grades text[], "userMasterIdentifier" text,
         "preferredFirstName" text, "preferredMiddleName" text, "preferredLastName" text, "primaryOrg" guid_ref, pronouns text),
       lateral (
         select coalesce(array_agg(distinct p.role) filter (where p.status = 'active'),
                         array_agg(distinct p.role) filter (where w.status = 'tobedeleted')) as names,
                coalesce(array_agg(distinct p.org_sourced_id) filter (where p.status = 'active'),
                         array_agg(distinct p.org_sourced_id) filter (where w.status = 'tobedeleted')) as orgs,
                coalesce(string_agg(p.doc, ',' order by p.role_type, p.sourced_id) filter (where p.status = 'active'),
                         string_agg(p.doc, ',' order by p.role_type, p.sourced_id) filter (where w.status = 'tobedeleted')) as docs
           from (select * from roles union all select * from roles_history) p
          where p.tenant = w.tenant and p.user_sourced_id = w.sourced_id
            and p.since <= w.since and (p.until is null or p.until > w.since)
       ) role,
       lateral (
         select string_agg(p.doc, ',' order by p.sourced_id) as docs
           from (select * from user_profiles union all select * from user_profiles_history) p
          where p.tenant = w.tenant and p.user_sourced_id = w.sourced_id and p.status = 'active'
            and p.since <= w.since and (p.until is null or p.until > w.since)
       ) profile
