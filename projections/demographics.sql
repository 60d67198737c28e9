-- Demographics: one record per person, under the sourcedId of the user.
-- events: demographics
select c.tenant, c.sourced_id, c.since, c.sequence, c.status, c.date_last_modified, c.digest,
       r."birthDate", r.sex, r."americanIndianOrAlaskaNative", r.asian, r."blackOrAfricanAmerican",
       r."nativeHawaiianOrOtherPacificIslander", r.white, r."demographicRaceTwoOrMoreRaces",
       r."hispanicOrLatinoEthnicity", r."countryOfBirthCode", r."stateOfBirthAbbreviation", fold(r."cityOfBirth"),
       r."publicSchoolResidenceStatus",
       document(c.sourced_id, c.status, c.date_last_modified, '', c.record) as doc
  from changes c,
       json_to_record(c.record) as r(
         "birthDate" date, sex text, "americanIndianOrAlaskaNative" boolean, asian boolean, "blackOrAfricanAmerican" boolean,
         "nativeHawaiianOrOtherPacificIslander" boolean, white boolean, "demographicRaceTwoOrMoreRaces" boolean,
         "hispanicOrLatinoEthnicity" boolean, "countryOfBirthCode" text, "stateOfBirthAbbreviation" text, "cityOfBirth" text,
         "publicSchoolResidenceStatus" text)
