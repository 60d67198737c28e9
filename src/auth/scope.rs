//! What a client may do. The scopes are data: nothing else spells them.

use std::fmt;
use std::str::FromStr;

/// The name of a scope of OneRoster's own (REST binding, chapter on security).
macro_rules! oneroster {
    ($short:literal) => {
        concat!("https://purl.imsglobal.org/spec/or/v1p2/scope/", $short)
    };
}

/// A right that a client has or a token carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    RosterCore,
    Roster,
    Demographics,
    Import,
    Export,
    Write,
    Audit,
    Webhooks,
    Admin,
    Erase,
}

/// Name in tokens, and what it opens. In the order of the variants.
static FACTS: [(&str, &str); 10] = [
    (oneroster!("roster-core.readonly"), "collections and single records"),
    (oneroster!("roster.readonly"), "the same, and nested collections"),
    (oneroster!("roster-demographics.readonly"), "demographics, which no other opens"),
    ("import", "handing sets in"),
    ("export", "taking sets out"),
    ("write", "changing records"),
    ("audit", "history and proofs"),
    ("webhooks", "subscribing to changes"),
    ("admin", "settings of the board"),
    ("erase", "erasing people, and legal holds"),
];

impl Scope {
    pub const ALL: [Self; 10] = [
        Self::RosterCore,
        Self::Roster,
        Self::Demographics,
        Self::Import,
        Self::Export,
        Self::Write,
        Self::Audit,
        Self::Webhooks,
        Self::Admin,
        Self::Erase,
    ];

    /// As it stands in tokens: OneRoster's by their URIs, ours by a word.
    pub fn name(self) -> &'static str {
        FACTS[self as usize].0
    }

    /// For the command line: the name without what all of OneRoster's begin with.
    pub fn short(self) -> &'static str {
        let name = self.name();
        name.strip_prefix(oneroster!("")).unwrap_or(name)
    }

    /// What it opens, in words.
    pub fn opens(self) -> &'static str {
        FACTS[self as usize].1
    }

    /// By its name in tokens.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// No scope has this name.
#[derive(Debug, thiserror::Error)]
#[error("no such scope; there are {}", Scopes::all().shorts().join(", "))]
pub struct BadScope;

impl FromStr for Scope {
    type Err = BadScope;
    /// By its name, in full or short.
    fn from_str(text: &str) -> Result<Self, BadScope> {
        Self::ALL.into_iter().find(|scope| [scope.name(), scope.short()].contains(&text)).ok_or(BadScope)
    }
}

/// A set of scopes. Shown as OAuth has it: names with blanks between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// The known ones of an OAuth scope list; others are passed over.
    pub fn parse(list: &str) -> Self {
        list.split(' ').filter_map(Scope::from_name).collect()
    }

    /// Those that have these names in tokens; others are passed over.
    pub fn from_names<S: AsRef<str>>(names: &[S]) -> Self {
        names.iter().filter_map(|name| Scope::from_name(name.as_ref())).collect()
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn has_any(self, scopes: &[Scope]) -> bool {
        scopes.iter().any(|scope| self.0 & (1 << *scope as u16) != 0)
    }

    /// Those in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has_any(&[*scope]))
    }

    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Scope::name).collect()
    }

    pub fn shorts(self) -> Vec<&'static str> {
        self.iter().map(Scope::short).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u16))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_is_found_by_both_its_names() {
        for (n, scope) in Scope::ALL.into_iter().enumerate() {
            assert_eq!(scope as usize, n, "the order of the variants is that of the facts");
            assert_eq!(Scope::from_name(scope.name()), Some(scope));
            assert_eq!((scope.name().parse().ok(), scope.short().parse().ok()), (Some(scope), Some(scope)));
        }
        assert_eq!(Scope::Roster.short(), "roster.readonly");
        assert!("roster".parse::<Scope>().is_err() && "".parse::<Scope>().is_err());
        assert_eq!(Scope::from_name("roster.readonly"), None, "tokens carry full names only");
    }

    #[test]
    fn sets_are_met_and_shown() {
        let client: Scopes = [Scope::Import, Scope::RosterCore].into_iter().collect();
        let asked = Scopes::parse("import  nonsense https://purl.imsglobal.org/spec/or/v1p2/scope/roster.readonly");
        assert_eq!(client.and(asked).to_string(), "import");
        assert!(client.has_any(&[Scope::Roster, Scope::RosterCore]) && !client.has_any(&[Scope::Roster]));
        assert!(!client.has_any(&[]) && Scopes::parse("").is_empty());
        assert_eq!(Scopes::parse(&Scopes::all().to_string()), Scopes::all());
    }
}
