-- User profiles: parts of a user. `doc` is the member of the user's `userProfiles` as clients see it;
-- passwords never reach the log, so none can stand here.
-- events: userProfile
select c.tenant, c.sourced_id, c.since, c.sequence, c.status, c.date_last_modified, c.digest,
       (r."user")."sourcedId", r."profileType", r."vendorId", r."applicationId", r.description, r."credentialType", r.username,
       json_strip_nulls(json_build_object(
         'profileId', c.sourced_id, 'profileType', r."profileType", 'vendorId', r."vendorId",
         'applicationId', r."applicationId", 'description', r.description,
         'credentials', json_build_array(json_build_object('type', r."credentialType", 'username', r.username))))::text as doc
  from changes c,
       json_to_record(c.record) as r(
         "user" guid_ref, "profileType" text, "vendorId" text, "applicationId" text, description text,
         "credentialType" text, username text)
