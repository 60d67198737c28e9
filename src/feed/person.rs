//! Which changes are of one person's records: the user, and what is or ever was the user's.

use crate::erasure::person::NAMING;

/// Types whose records have the user's own id.
const OWN: &str = "'user', 'demographics'";

/// The events of all records that ever named the person, as `e`; `{tenant}` and `{person}` are to be bound. By the one
/// index that has their keys, record by record.
pub(super) fn events() -> String {
    let named = NAMING.map(|kind| {
        let (name, table) = (kind.name(), kind.entity().table);
        let of = |table: &str| {
            format!(
                "select '{name}', sourced_id from {table} where tenant = {{tenant}} and user_sourced_id = {{person}}"
            )
        };
        format!(" union {} union {}", of(table), of(&format!("{table}_history")))
    });
    format!(
        "(select v.* from (select kind, {{person}}::text from unnest(array[{OWN}]) own (kind){}) k (kind, id),
          lateral (select * from events where aggregate_type = k.kind and aggregate_id = {{tenant}} || '/' || k.id
                   offset 0) v offset 0) e",
        named.concat()
    )
}

/// Whether the event `e` is about the person, and not about another whom its record named at another time; `{person}`
/// is to be bound.
pub(super) fn named() -> String {
    format!(
        "(e.aggregate_type in ({OWN}) or e.payload -> 'record' -> 'user' ->> 'sourcedId' = {{person}}
          or (select b.payload -> 'record' -> 'user' ->> 'sourcedId' from events b
               where b.aggregate_type = e.aggregate_type and b.aggregate_id = e.aggregate_id
                 and b.sequence = e.sequence - 1 limit 1) = {{person}})"
    )
}
