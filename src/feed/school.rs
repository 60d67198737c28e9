//! Which changes belong to a school or other org, as things stood just before and just after their unit of work: an org
//! to itself, other records to the org that they name, people and what is theirs to the orgs of their active roles,
//! academic sessions to every school.

use super::filter::PLACES;

/// The id of the record that the event `e` is of.
const ID: &str = "substr(e.aggregate_id, length(e.tenant) + 2)";

/// All orgs of the event `e`, whose record before is `b`, as `s.schools`.
pub(super) fn listed() -> String {
    let list = |kinds: &[&str]| kinds.iter().map(|kind| format!("'{kind}'")).collect::<Vec<_>>().join(", ");
    let places: String =
        PLACES.iter().map(|(kind, member)| format!(" when '{}' then '{member}'", kind.name())).collect();
    let named = list(&PLACES.map(|(kind, _)| kind.name()));
    let versions = "(values (e.payload -> 'record'), (b.payload -> 'record')) v(record)";
    format!(
        "
  cross join lateral (
    select coalesce(array_agg(distinct found.org), '{{}}') as schools
      from (select {ID} where e.aggregate_type = 'org'
            union all
            select v.record -> (case e.aggregate_type{places} end) ->> 'sourcedId' from {versions}
             where e.aggregate_type in ({named})
            union all
            select r.org_sourced_id
              from (select {ID} where e.aggregate_type in ('user', 'demographics')
                    union all
                    select v.record -> 'user' ->> 'sourcedId' from {versions} where e.aggregate_type = 'userProfile')
                   person(id),
                   lateral (
                     select org_sourced_id, status, since, until from roles
                      where user_sourced_id = person.id and tenant = e.tenant
                     union all
                     select org_sourced_id, status, since, until from roles_history
                      where user_sourced_id = person.id and tenant = e.tenant) r
             where r.status = 'active' and r.since <= e.unit and (r.until is null or r.until >= e.unit)) found(org)
     where found.org is not null) s"
    )
}

/// Whether the event `e` belongs to one school; `{tenant}` and `{school}` are to be bound. Says the same as [`listed`]
/// of one school, and asks for less: most events are another school's, and are told so by what stands in them.
pub(super) fn belongs() -> String {
    // A subselect with a limit is never made a hash of all events, whatever the statistics say.
    let before = |member: &str| {
        format!(
            "(select b.payload -> 'record' -> '{member}' ->> 'sourcedId' from events b
               where b.aggregate_type = e.aggregate_type and b.aggregate_id = e.aggregate_id
                 and b.sequence = e.sequence - 1 limit 1)"
        )
    };
    let now = |member: &str| format!("e.payload -> 'record' -> '{member}' ->> 'sourcedId'");
    let places = PLACES.iter().map(|(kind, member)| {
        let (now, before) = (now(member), before(member));
        format!(" when '{}' then {now} = {{school}} or (e.sequence > 1 and {before} = {{school}})", kind.name())
    });
    let of_school = |table: &str| {
        format!("select user_sourced_id from {table} where org_sourced_id = {{school}} and tenant = {{tenant}}")
    };
    let (current, history) = (of_school("roles"), of_school("roles_history"));
    let person = |id: &str| {
        let active = |table: &str| {
            format!(
                "exists (select from {table} r where r.user_sourced_id = {id} and r.org_sourced_id = {{school}}
                   and r.tenant = {{tenant}} and r.status = 'active' and r.since <= e.unit
                   and (r.until is null or r.until >= e.unit))"
            )
        };
        let (now, then) = (active("roles"), active("roles_history"));
        // Who ever was at the school is listed once in a statement.
        format!("({id} in ({current} union all {history}) and ({now} or {then}))")
    };
    let (own, user, user_before) = (person(ID), person(&format!("({})", now("user"))), person(&before("user")));
    format!(
        "case e.aggregate_type when 'academicSession' then true when 'org' then {ID} = {{school}}{}
           when 'userProfile' then {user} or (e.sequence > 1 and {user_before}) else {own} end",
        places.collect::<String>()
    )
}
