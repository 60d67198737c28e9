//! The columns of a file in an edition of the binding.

use crate::csv::edition::{Edition, columns};
use crate::roster::EntityType;
use crate::roster::japan::{EXTENSIONS, Extension};

/// A column of a file that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub content: Content,
}

/// What stands in a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    SourcedId,
    Status,
    DateLastModified,
    /// Index in the entity's fields.
    Field(usize),
    /// Key in `metadata`.
    Metadata(String),
    /// Nothing: the hub does not keep it.
    Blank,
}

/// The columns in order. `keys`: those of `metadata` that the records have. Japanese editions have their own extension
/// columns, whether there is something in them or not, and no others; the base editions have what there is.
pub fn of(edition: Edition, kind: EntityType, keys: &[String]) -> Vec<Column> {
    let binding = columns(kind).into_iter().filter(|(_, required)| *required || edition.is_first());
    let mut all: Vec<Column> = binding
        .map(|(name, _)| {
            let field = kind.entity().fields.iter().position(|field| field.csv == name);
            let content = match name {
                "sourcedId" => Content::SourcedId,
                "status" => Content::Status,
                "dateLastModified" => Content::DateLastModified,
                _ => field.map_or(Content::Blank, Content::Field),
            };
            Column { name: name.to_owned(), content }
        })
        .collect();
    let known = EXTENSIONS.iter().filter(|extension| extension.entity == kind);
    let known = known.filter(|extension| match edition.is_japan() {
        true => !extension.later || edition.profile().later_extensions,
        false => keys.iter().any(|key| key == extension.field.json),
    });
    all.extend(known.map(|extension| Column {
        name: spelling(edition, extension).to_owned(),
        content: Content::Metadata(extension.field.json.to_owned()),
    }));
    if !edition.is_japan() {
        let mut others: Vec<&String> = keys.iter().filter(|key| !is_known(kind, key)).collect();
        others.sort();
        all.extend(
            others
                .into_iter()
                .map(|key| Column { name: format!("metadata.{key}"), content: Content::Metadata(key.clone()) }),
        );
    }
    all
}

/// Whether a key of `metadata` is a Japanese extension.
fn is_known(kind: EntityType, key: &str) -> bool {
    EXTENSIONS.iter().any(|extension| extension.entity == kind && extension.field.json == key)
}

fn spelling(edition: Edition, extension: &Extension) -> &'static str {
    let older = extension.older_column.filter(|_| edition.profile().older_spelling);
    older.unwrap_or(extension.field.csv)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(edition: Edition, kind: EntityType, keys: &[&str]) -> String {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        of(edition, kind, &keys).into_iter().map(|column| column.name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_edition_is_told_by_its_own_columns() {
        use crate::csv::edition::header;
        for edition in Edition::WRITTEN {
            let headers = [EntityType::User, EntityType::Enrollment].map(|kind| {
                let names = of(edition, kind, &[]).into_iter().map(|column| column.name).collect();
                (kind, header(edition, kind, names))
            });
            assert!(headers.iter().all(|(_, header)| header.errors.is_empty()));
            let found =
                Edition::detect(edition.version(), headers.iter().map(|(kind, header)| (*kind, &header.names[..])));
            assert_eq!(found, edition);
        }
    }

    #[test]
    fn extensions_stand_at_the_right_end() {
        let enrollments = |edition, keys: &[&str]| names(edition, EntityType::Enrollment, keys);
        assert!(
            enrollments(Edition::JapanK12, &["a"]).ends_with("endDate metadata.jp.shussekiNo metadata.jp.publicFlg")
        );
        assert!(enrollments(Edition::Japan121, &[]).ends_with("endDate metadata.jp.ShussekiNo metadata.jp.PublicFlg"));
        assert!(enrollments(Edition::Base121, &[]).ends_with("endDate"));
        assert!(
            enrollments(Edition::Base121, &["z", "jp.publicFlg", "a,b"])
                .ends_with("endDate metadata.jp.publicFlg metadata.a,b metadata.z")
        );
        assert!(names(Edition::Japan2, EntityType::User, &[]).ends_with("metadata.jp.homeClass"));
        assert!(names(Edition::Japan121, EntityType::User, &[]).ends_with("metadata.jp.kanaPreferredMiddleName"));
    }
}
