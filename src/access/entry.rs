//! An entry of the access log, as the gateways make it.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use crate::auth::Client;
use crate::log::Tenant;

/// Characters of a query that are kept.
pub const LONGEST_QUERY: usize = 1_000;

/// The way that data took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    Rest,
    Graphql,
    Feed,
    Export,
    Webhook,
    /// None: the entry tells of entries that were lost.
    Lost,
}

impl Via {
    pub const NAMES: [&str; 6] = ["rest", "graphql", "feed", "export", "webhook", "lost"];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Who received data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recipient {
    /// None: whoever runs commands beside the database.
    pub id: Option<Uuid>,
    pub name: Arc<str>,
}

impl Recipient {
    /// Whoever runs commands.
    pub fn cli() -> Self {
        Self { id: None, name: "cli".into() }
    }

    /// As the log has it.
    pub fn key(&self) -> String {
        self.id.map_or_else(|| "cli".to_owned(), |id| id.to_string())
    }
}

impl From<&Client> for Recipient {
    fn from(client: &Client) -> Self {
        Self { id: Some(client.id), name: client.name.clone() }
    }
}

/// What was asked. `query` may hold personal data: it is for the access log and for nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    pub recipient: Recipient,
    pub via: Via,
    pub operation: String,
    /// What the template of the route begins with, and the rest of it.
    pub route: (&'static str, &'static str),
    pub query: String,
}

impl Asked {
    pub fn new(
        client: impl Into<Recipient>,
        via: Via,
        operation: &str,
        route: (&'static str, &'static str),
        query: &str,
    ) -> Self {
        // What Postgres does not take.
        let query = cut(query, LONGEST_QUERY).replace('\0', "");
        Self { recipient: client.into(), via, operation: cut(operation, 100).to_owned(), route, query }
    }
}

/// The beginning of a text, at most so many characters.
pub fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// Distinct people whose data is in an answer, up to a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// sourcedIds with a null character behind each, which none can hold: one allocation, one hash.
    listed: String,
    count: usize,
    /// There are more than are listed; how many there are in all, where that is known.
    more: Option<Option<usize>>,
}

impl People {
    pub fn one(id: &str) -> Self {
        Self::of(1, std::iter::once(id))
    }

    /// People too many to list.
    pub fn many(count: Option<usize>) -> Self {
        Self { more: Some(count), ..Self::default() }
    }

    /// Those of ids that are all different, which are so many.
    pub fn of<'a>(most: usize, ids: impl ExactSizeIterator<Item = &'a str>) -> Self {
        match ids.len() {
            count if count > most.max(1) => Self::many(Some(count)),
            count => {
                let mut listed = String::with_capacity(count * 40);
                ids.for_each(|id| {
                    listed.push_str(id);
                    listed.push('\0');
                });
                Self { listed, count, more: None }
            }
        }
    }

    /// Those of ids that may come more than once.
    pub fn distinct<'a>(most: usize, ids: impl Iterator<Item = &'a str>) -> Self {
        let mut seen = HashSet::new();
        let ids: Vec<&str> = ids.filter(|id| seen.insert(*id)).collect();
        Self::of(most, ids.into_iter())
    }

    /// Adds one, if there is room. False: there is none.
    pub fn add(&mut self, most: usize, id: &str) -> bool {
        if self.ids().any(|listed| listed == id) {
            return true;
        }
        if self.count >= most.max(1) {
            return false;
        }
        self.listed.push_str(id);
        self.listed.push('\0');
        self.count += 1;
        true
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.listed.split_terminator('\0')
    }

    pub fn is_wide(&self) -> bool {
        self.more.is_some()
    }

    /// How many there are, where that is known.
    pub fn count(&self) -> Option<usize> {
        self.more.unwrap_or(Some(self.count))
    }

    pub(super) fn listed(&self) -> &str {
        &self.listed
    }
}

/// People seen while an answer of unknown size is read. Nothing is gathered where the log is off.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    most: Option<usize>,
    ids: HashSet<String>,
    wide: bool,
    /// Records of people were asked for, whether or not there were any.
    pub personal: bool,
}

impl Seen {
    /// `most`: people that are listed; none: nothing is gathered.
    pub fn new(most: Option<usize>) -> Self {
        Self { most, ..Self::default() }
    }

    pub fn see(&mut self, id: &str) {
        self.personal = true;
        let Some(most) = self.most.filter(|_| !self.wide) else { return };
        if !self.ids.contains(id) {
            self.ids.insert(id.to_owned());
        }
        if self.ids.len() > most.max(1) {
            self.see_many();
        }
    }

    /// People who are not counted.
    pub fn see_many(&mut self) {
        (self.personal, self.wide, self.ids) = (true, true, HashSet::new());
    }

    pub fn and(&mut self, other: Self) {
        self.personal |= other.personal;
        match other.wide {
            true => self.see_many(),
            false => other.ids.iter().for_each(|id| self.see(id)),
        }
    }

    pub fn people(&self) -> People {
        match self.wide {
            true => People::many(None),
            false => {
                let mut ids: Vec<&str> = self.ids.iter().map(String::as_str).collect();
                ids.sort_unstable();
                People::of(self.most.unwrap_or_default(), ids.into_iter())
            }
        }
    }
}

/// A read of personal data.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Version 7: its time is that of the read.
    pub id: Uuid,
    pub tenant: Tenant,
    pub asked: Asked,
    /// Of the log, that was read at.
    pub position: i64,
    pub people: People,
    pub records: Option<usize>,
    /// Of the answer, before compression.
    pub bytes: Option<usize>,
}

impl Entry {
    pub fn new(tenant: &Tenant, asked: Asked, position: i64, people: People) -> Self {
        Self { id: Uuid::now_v7(), tenant: tenant.clone(), asked, position, people, records: None, bytes: None }
    }

    pub fn records(self, records: usize) -> Self {
        Self { records: Some(records), ..self }
    }

    pub fn bytes(self, bytes: usize) -> Self {
        Self { bytes: Some(bytes), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_listed_once_up_to_a_number() {
        let people = People::distinct(2, ["a", "b", "a"].into_iter());
        assert_eq!(
            (people.ids().collect::<Vec<_>>(), people.count(), people.is_wide()),
            (vec!["a", "b"], Some(2), false)
        );
        let people = People::distinct(2, ["a", "b", "c"].into_iter());
        assert_eq!((people.ids().count(), people.count(), people.is_wide()), (0, Some(3), true));
        let mut people = People::one("a");
        assert!(people.add(2, "b") && people.add(2, "a") && !people.add(2, "c"));
        assert_eq!(People::distinct(2, std::iter::empty()).count(), Some(0));
    }

    #[test]
    fn what_was_seen_is_listed_or_wide() {
        let mut seen = Seen::new(Some(2));
        assert!(!seen.personal);
        ["b", "a", "b"].into_iter().for_each(|id| seen.see(id));
        assert_eq!(seen.people().ids().collect::<Vec<_>>(), ["a", "b"]);
        let mut other = Seen::new(Some(2));
        other.see("c");
        seen.and(other);
        assert_eq!((seen.people().is_wide(), seen.people().count()), (true, None));
    }

    #[test]
    fn queries_are_cut_between_characters() {
        assert_eq!(cut("佐藤花子", 2), "佐藤");
        assert_eq!(cut("ab", 2), "ab");
    }
}
