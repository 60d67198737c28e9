//! The `filter` parameter: text to a typed tree (REST binding §3.3).
//!
//! ```text
//! filter = clause [ (" AND " | " OR ") clause ]
//! clause = field operator "'" value "'"        operator = "=" | "!=" | ">" | ">=" | "<" | "<=" | "~"
//! ```
//! Beyond the binding: any number of clauses, parentheses, AND before OR, more white space, lower-case words, and a
//! quote inside a value written twice. Knows nothing of fields or SQL.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    Clause(Clause),
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Dotted path of JSON names, for example `school.sourcedId`.
    pub field: String,
    pub operator: Operator,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Contains,
}

impl Operator {
    /// Longer ones first, so that `>=` is not read as `>`.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::NotEqual, "!="),
        (Self::GreaterOrEqual, ">="),
        (Self::LessOrEqual, "<="),
        (Self::Equal, "="),
        (Self::Greater, ">"),
        (Self::Less, "<"),
        (Self::Contains, "~"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|o| o.0 == self).map_or("", |o| o.1)
    }
}

/// What is wrong with a filter, for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFilter(pub String);

const MOST_CLAUSES: usize = 100;
const DEEPEST: usize = 20;

impl std::str::FromStr for Filter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let mut parser = Parser { text, at: 0, clauses: 0, depth: 0 };
        let filter = parser.alternatives()?;
        parser.skip_space();
        match parser.rest().chars().next() {
            None => Ok(filter),
            Some(_) => Err(parser.expected("AND, OR or the end")),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    clauses: usize,
    depth: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn expected(&self, what: &str) -> BadFilter {
        BadFilter(format!(
            "the filter is malformed: {what} is expected at character {}",
            self.text[..self.at].chars().count() + 1
        ))
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(' ').len();
    }

    fn alternatives(&mut self) -> Result<Filter, BadFilter> {
        let mut left = self.conjunction()?;
        while self.word("OR") {
            left = Filter::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Filter, BadFilter> {
        let mut left = self.operand()?;
        while self.word("AND") {
            left = Filter::And(Box::new(left), Box::new(self.operand()?));
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Filter, BadFilter> {
        self.skip_space();
        if !self.rest().starts_with('(') {
            return self.clause().map(Filter::Clause);
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(BadFilter(format!("the filter is nested more than {DEEPEST} deep")));
        }
        self.at += 1;
        let inner = self.alternatives()?;
        self.skip_space();
        if !self.rest().starts_with(')') {
            return Err(self.expected("a closing parenthesis"));
        }
        self.at += 1;
        self.depth -= 1;
        Ok(inner)
    }

    /// A word between clauses: space on both sides, or a parenthesis.
    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest().trim_start_matches(' ');
        let found = rest.get(..word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word))
            && rest[word.len()..].starts_with([' ', '(']);
        if found {
            self.at += self.rest().len() - rest.len() + word.len();
        }
        found
    }

    fn clause(&mut self) -> Result<Clause, BadFilter> {
        self.clauses += 1;
        if self.clauses > MOST_CLAUSES {
            return Err(BadFilter(format!("the filter has more than {MOST_CLAUSES} clauses")));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let field = self.rest().split(|c| !is_name(c)).next().unwrap_or_default().to_owned();
        if field.is_empty() {
            return Err(self.expected("a field"));
        }
        self.at += field.len();
        self.skip_space();
        let found = Operator::ALL.into_iter().find(|(_, sign)| self.rest().starts_with(sign));
        let (operator, sign) = found.ok_or_else(|| self.expected("one of = != > >= < <= ~"))?;
        self.at += sign.len();
        self.skip_space();
        if !self.rest().starts_with('\'') {
            return Err(self.expected("a value in single quotes"));
        }
        self.at += 1;
        let mut value = String::new();
        loop {
            let rest = self.rest();
            let quote =
                rest.find('\'').ok_or_else(|| BadFilter("the filter is malformed: a quote is not closed".into()))?;
            value.push_str(&rest[..quote]);
            let doubled = rest[quote + 1..].starts_with('\'');
            self.at += quote + 1 + usize::from(doubled);
            if !doubled {
                break;
            }
            value.push('\'');
        }
        if value.contains('\0') {
            return Err(BadFilter("a value holds a null character".into()));
        }
        Ok(Clause { field, operator, value })
    }
}

impl fmt::Display for Filter {
    /// Text that reads back as the same tree. No more parentheses than are needed: they may be nested only so deep.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operand = |filter: &Self, within: bool, f: &mut fmt::Formatter<'_>| match within {
            true => write!(f, "({filter})"),
            false => write!(f, "{filter}"),
        };
        match self {
            Self::Clause(Clause { field, operator, value }) => {
                write!(f, "{field}{}'{}'", operator.as_str(), value.replace('\'', "''"))
            }
            Self::And(left, right) => {
                operand(left, matches!(**left, Self::Or(..)), f)?;
                f.write_str(" AND ")?;
                operand(right, !matches!(**right, Self::Clause(_)), f)
            }
            Self::Or(left, right) => {
                operand(left, false, f)?;
                f.write_str(" OR ")?;
                operand(right, matches!(**right, Self::Or(..)), f)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clause(field: &str, operator: Operator, value: &str) -> Filter {
        Filter::Clause(Clause { field: field.into(), operator, value: value.into() })
    }

    #[test]
    fn what_clients_send_is_read() {
        let jones = clause("familyName", Operator::Equal, "jones");
        assert_eq!("familyName='jones'".parse(), Ok(jones.clone()));
        assert_eq!("familyName = 'jones'".parse(), Ok(jones.clone()));
        assert_eq!(
            "familyName='jones' AND dateLastModified>'2015-01-01'".parse(),
            Ok(Filter::And(
                Box::new(jones.clone()),
                Box::new(clause("dateLastModified", Operator::Greater, "2015-01-01"))
            ))
        );
        assert_eq!("school.sourcedId!='a''b'".parse(), Ok(clause("school.sourcedId", Operator::NotEqual, "a'b")));
        assert_eq!(
            "metadata.jp.kanaFamilyName~'サト'".parse(),
            Ok(clause("metadata.jp.kanaFamilyName", Operator::Contains, "サト"))
        );
        assert_eq!("a>='1'".parse(), Ok(clause("a", Operator::GreaterOrEqual, "1")));
        assert_eq!("title=' AND '".parse(), Ok(clause("title", Operator::Equal, " AND ")));
        assert_eq!("title=''".parse(), Ok(clause("title", Operator::Equal, "")));
    }

    #[test]
    fn and_binds_closer_than_or() {
        let (a, b, c) =
            (clause("a", Operator::Equal, "1"), clause("b", Operator::Equal, "2"), clause("c", Operator::Equal, "3"));
        let or = |l: &Filter, r: &Filter| Filter::Or(Box::new(l.clone()), Box::new(r.clone()));
        let and = |l: &Filter, r: &Filter| Filter::And(Box::new(l.clone()), Box::new(r.clone()));
        assert_eq!("a='1' or b='2' and c='3'".parse(), Ok(or(&a, &and(&b, &c))));
        assert_eq!("(a='1' OR b='2')  AND(c='3')".parse(), Ok(and(&or(&a, &b), &c)));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for bad in [
            "",
            " ",
            "a",
            "a=",
            "a='",
            "a='x",
            "='x'",
            "a=x",
            "a=\"x\"",
            "a=='x'",
            "a='x' AND",
            "a='x' b='y'",
            "a='x' XOR b='y'",
            "(a='x'",
            "a='x')",
            "a='x'AND b='y' ANDc='z'",
            "a b='x'",
            "a;b='x'",
            "a='x\0'",
        ] {
            assert!(bad.parse::<Filter>().is_err(), "{bad}");
        }
        assert!(("(".repeat(10_000) + "a='x'").parse::<Filter>().is_err());
        assert!(vec!["a='x'"; 1_000].join(" AND ").parse::<Filter>().is_err());
    }

    #[test]
    fn printed_filters_are_nested_no_deeper_than_they_came() {
        let deepest = "(a='1' OR ".repeat(DEEPEST) + "a='1' AND b='2'" + &")".repeat(DEEPEST);
        for text in [
            vec!["a='1'"; MOST_CLAUSES].join(" AND "),
            vec!["a='1'"; MOST_CLAUSES].join(" OR "),
            vec!["a='1' AND b='2'"; MOST_CLAUSES / 2].join(" OR "),
            deepest[1..deepest.len() - 1].to_owned(),
            "(a='1' OR b='2') AND (c='3' AND d='4')".to_owned(),
        ] {
            assert_eq!(text.parse::<Filter>().unwrap().to_string(), text);
        }
    }

    fn filters() -> impl Strategy<Value = Filter> {
        let operator = prop::sample::select(Operator::ALL.map(|o| o.0).to_vec());
        let leaf = ("[A-Za-z_][A-Za-z0-9_.]{0,12}", operator, "[^\0]{0,12}")
            .prop_map(|(field, operator, value)| Filter::Clause(Clause { field, operator, value }));
        leaf.prop_recursive(5, 24, 2, |inner| {
            (inner.clone(), inner, any::<bool>()).prop_map(|(left, right, and)| {
                let (left, right) = (Box::new(left), Box::new(right));
                if and { Filter::And(left, right) } else { Filter::Or(left, right) }
            })
        })
    }

    proptest! {
        #[test]
        fn printed_filters_read_back_as_they_were(filter in filters()) {
            prop_assert_eq!(filter.to_string().parse::<Filter>(), Ok(filter));
        }

        #[test]
        fn no_text_breaks_the_parser(text in "[a-z'=~<>!() .ANDOR\\PC]{0,60}") {
            let _ = text.parse::<Filter>();
        }
    }
}
