//! What can be wrong with a record. One table gives each fault its code, its text and its cure.

/// A rule that a record broke, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: Code,
    /// CSV column of the field (`familyName`), or empty when no single field is meant.
    pub column: &'static str,
    /// The offending value, masked when the field is personal.
    pub value: String,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident, $name:literal, $en:literal, $ja:literal;)*) => {
        /// The closed list of faults. Codes are stable: clients and boards' procedures may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[doc = $doc])* $variant,)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// Stable name, for example `missing_required`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $name),* }
            }
            /// What is wrong and how to mend it, in English.
            pub const fn english(self) -> &'static str {
                match self { $(Code::$variant => $en),* }
            }
            /// The same in Japanese.
            pub const fn japanese(self) -> &'static str {
                match self { $(Code::$variant => $ja),* }
            }
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|c| c.as_str() == name)
            }
        }
    };
}

codes! {
    // The package
    NotAZip, "not_a_zip", "The file is not a zip archive, or it is damaged. Export the set again.",
        "ZIPファイルではないか、壊れています。もう一度書き出してください。";
    BadEntry, "bad_entry", "An entry of the zip cannot be read: damaged, encrypted, a link, or in a folder. All files stand at the root.",
        "ZIP内のファイルを読めません（破損、暗号化、リンク、またはフォルダー内）。すべてのファイルを最上位に置いてください。";
    TooManyFiles, "too_many_files", "The zip holds more entries than are looked at. A set has 22 files at most.",
        "ZIP内のファイルが多すぎます。セットのファイルは最大22個です。";
    SetTooLarge, "set_too_large", "Unpacked, the set is larger than this hub takes. What follows was not read.",
        "展開後のセットが上限を超えています。これ以降は読みませんでした。";
    DuplicateFile, "duplicate_file", "The file is in the zip more than once.",
        "同じファイルがZIP内に複数あります。";
    UnknownFile, "unknown_file", "The CSV binding knows no file of this name. Names are exact, including upper and lower case.",
        "CSVバインディングにないファイル名です。大文字・小文字も正確に合わせてください。";
    ManifestAbsent, "manifest_absent", "There is no manifest.csv. Every OneRoster 1.2 set has one.",
        "manifest.csv がありません。OneRoster 1.2 では必須です。";
    ManifestVersion, "manifest_version", "This version is not supported: manifest.version is 1.0, oneroster.version 1.2, 1.2.1 or 1.2_JP.",
        "対応していない版です。manifest.version は 1.0、oneroster.version は 1.2、1.2.1、1.2_JP のいずれかです。";
    ManifestBadMode, "manifest_bad_mode", "A file's mode is absent, bulk or delta.",
        "ファイルの区分は absent、bulk、delta のいずれかです。";
    ManifestProperty, "manifest_property", "A property is missing, unknown or there twice.",
        "プロパティーが不足しているか、未知のものか、重複しています。";
    ManifestMissingFile, "manifest_missing_file", "The manifest declares this file, but it is not in the set.",
        "マニフェストにあるファイルが含まれていません。";
    ManifestUndeclaredFile, "manifest_undeclared_file", "The manifest says absent, but the file is in the set.",
        "マニフェストでは absent ですが、ファイルが含まれています。";
    // A file
    BadCharacter, "bad_character", "These bytes are not UTF-8, or the character is not allowed in text. Save the file as UTF-8.",
        "UTF-8として読めないか、使えない文字です。UTF-8で保存してください。";
    UnclosedQuote, "unclosed_quote", "The quote that begins in this line is never closed. What follows could not be read.",
        "この行で始まる引用符が閉じられていません。これ以降は読めませんでした。";
    HeaderMissing, "header_missing", "This column is missing from the header. All columns of the binding must be there, also those left empty.",
        "見出しに必要な列がありません。空の列も含め、定められたすべての列が必要です。";
    HeaderOrder, "header_order", "The columns do not stand in the binding's order.",
        "列の順序が定めと異なります。";
    HeaderDuplicate, "header_duplicate", "The column is in the header twice, or has no name.",
        "見出しの列名が重複しているか、空です。";
    ExtraColumn, "extra_column", "The binding knows no such column. Extensions stand at the right end and are named metadata.…",
        "定めにない列です。拡張列は右端に metadata.… の名前で置いてください。";
    NoRows, "no_rows", "The file has a header but no rows. Leave it out and declare it absent.",
        "見出しだけでデータ行がありません。ファイルを除き、absent としてください。";
    RowWidth, "short_row", "The row has another number of fields than the header.",
        "行の項目数が見出しと一致しません。";
    // A row
    BulkWithStatus, "bulk_with_status", "status and dateLastModified are blank in a bulk file.",
        "bulkファイルでは status と dateLastModified を空にしてください。";
    DeltaWithoutStatus, "delta_without_status", "status and dateLastModified are filled in a delta file.",
        "deltaファイルでは status と dateLastModified が必要です。";
    DuplicateSourcedId, "duplicate_sourced_id", "Another row of this file, or item of this list, has the same sourcedId.",
        "同じ sourcedId の行または項目がすでにあります。";
    // A value
    MissingRequired, "missing_required", "A required value is blank.",
        "必須の値が空です。";
    BadSourcedId, "bad_sourced_id", "An id is 1 to 255 characters out of 0-9 A-Z a-z . - _ / @",
        "IDは 0-9 A-Z a-z . - _ / @ からなる1～255文字です。";
    BadText, "bad_text", "Text holds no line break, tab or control character.",
        "文字列に改行、タブ、制御文字は使えません。";
    TooLong, "too_long", "The value is longer than 4,000 characters, or the row than 1 MiB or 1,000 fields.",
        "値が4,000文字、または行が1 MiBか1,000項目を超えています。";
    BadEnum, "bad_enum", "The value is not in the list of this column. Upper and lower case count.",
        "この列で使えない値です。大文字・小文字も区別されます。";
    BadBoolean, "bad_boolean", "The value is true or false, in lower case.",
        "値は小文字の true または false です。";
    BadDate, "bad_date", "A date is YYYY-MM-DD and exists in the calendar.",
        "日付は YYYY-MM-DD 形式の実在する日です。";
    BadDateTime, "bad_datetime", "A time is YYYY-MM-DDTHH:MM:SS.sssZ, in UTC.",
        "日時は YYYY-MM-DDTHH:MM:SS.sssZ 形式（UTC）です。";
    BadYear, "bad_year", "A year is four digits.",
        "年は4桁の数字です。";
    BadInteger, "bad_integer", "The value is a whole number.",
        "値は整数です。";
    BadList, "bad_list", "A list is separated by commas, without blanks around and without empty items.",
        "一覧はコンマ区切りで、前後の空白や空の項目は使えません。";
    BadPairs, "bad_pairs", "Pairs are written {type:identifier}, separated by commas.",
        "組は {type:identifier} の形でコンマ区切りにしてください。";
    // Rules of the standard
    DanglingReference, "dangling_reference", "No record of this sourcedId has been handed in, nor (bulk files aside) is one in the roster.",
        "この sourcedId の参照先が、提出されたデータにも（bulkファイルを除き）名簿にもありません。";
    ReferenceType, "reference_type", "The record referred to has the wrong type: a class and an enrollment want a school, a course a schoolYear session.",
        "参照先の種別が違います。クラスと在籍は学校を、コースは schoolYear を参照します。";
    DatesReversed, "dates_reversed", "The end lies before the beginning.",
        "終了日が開始日より前です。";
    SubjectCodes, "subject_codes", "subjects and subjectCodes have the same number of items.",
        "subjects と subjectCodes の項目数が一致しません。";
    PrimaryNotTeacher, "primary_not_teacher", "Only a teacher's enrollment is primary.",
        "primary を true にできるのは教員の在籍だけです。";
    SecondPrimaryRole, "second_primary_role", "The user already has a primary role at this org.",
        "この利用者は、この組織ですでに primary の役割を持っています。";
    PrimaryOrgWithoutRole, "primary_org_without_role", "The user has no role at the org named as primary.",
        "primaryOrg の組織での役割がありません。";
    UserWithoutRole, "user_without_role", "The user has no role, or would lose the last one. Every active user has at least one.",
        "利用者に役割がないか、最後の役割がなくなります。有効な利用者には最低1つの役割が必要です。";
    ForeignProfile, "foreign_profile", "The profile belongs to another user.",
        "ほかの利用者のプロフィールです。";
    OwnParent, "own_parent", "The record names itself as parent.",
        "自分自身を親としています。";
    StillReferredTo, "still_referred_to", "An active record (left) refers to one that the revert would withdraw (right). Change it first, or revert what made it.",
        "有効なレコード（左）が、取り消しで取り下げられるレコード（右）を参照しています。先に変更するか、そのレコードを作った取り込みを取り消してください。";
    // A document written over the API
    UnknownMember, "unknown_member", "The hub knows no such member here. Extensions stand in metadata.",
        "このメンバーは使えません。拡張は metadata に置いてください。";
    WrongType, "wrong_type", "The JSON value has another type than this member wants: string, list, object.",
        "JSONの値の型（文字列、配列、オブジェクト）がこのメンバーと合いません。";
    TooMany, "too_many", "The list has more items than the hub takes: 200 roles or profiles, 10,000 of anything else.",
        "一覧の項目が多すぎます。役割とプロフィールは200件、その他は10,000件までです。";
    DuplicateMember, "duplicate_member", "The member stands twice in one object.",
        "同じオブジェクトに同じメンバーが重複しています。";
    SourcedIdMismatch, "sourced_id_mismatch", "The document names another sourcedId than the address or the operation.",
        "文書の sourcedId がURLまたは操作の sourcedId と異なります。";
    OneCredential, "one_credential", "A profile has exactly one credential.",
        "プロフィールの credentials はちょうど1件です。";
    DerivedMember, "derived_member", "This member follows from other records: change their parent instead.",
        "このメンバーはほかのレコードから決まります。そちらの parent を変更してください。";
    WithdrawnAndChanged, "withdrawn_and_changed", "A document whose status is tobedeleted withdraws a record that stands as the document says. It neither creates nor changes one.",
        "status が tobedeleted の文書は、内容が同じレコードを取り下げるだけで、作成や変更はできません。";
    UnknownRecord, "unknown_record", "There is no record of this sourcedId.",
        "この sourcedId のレコードはありません。";
    AlreadyExists, "already_exists", "There is an active record of this sourcedId already.",
        "この sourcedId の有効なレコードがすでにあります。";
    PreconditionFailed, "precondition_failed", "The record is not the version that was asked for. Read it again.",
        "レコードは指定された版ではありません。読み直してください。";
    BadEntityTag, "bad_entity_tag", "An entity tag is written \"…\" as in ETag, several are separated by commas; * means any.",
        "エンティティタグは ETag のとおり \"…\" の形で、複数はコンマ区切りです。* は任意の版を表します。";
    DuplicateOperation, "duplicate_operation", "Another operation of this batch is on the same record.",
        "同じレコードへの操作がこのバッチにすでにあります。";
    // The Japan profile
    BadGrade, "bad_grade", "Not a grade code of the Japan profile: E1–E3, P1–P6, J1–J3, H1–H3.",
        "日本プロファイルの学年コード（E1～E3、P1～P6、J1～J3、H1～H3）ではありません。";
    HalfWidthKatakana, "half_width_katakana", "Half-width katakana are not allowed. Use full-width ones.",
        "半角カタカナは使えません。全角にしてください。";
    NotKatakana, "not_katakana", "The reading is written in full-width katakana.",
        "ふりがなは全角カタカナで記入してください。";
    CourseCodeNotBlank, "course_code_not_blank", "courseCode is blank in the Japan profile.",
        "日本プロファイルでは courseCode は空にします。";
}

impl Fault {
    pub fn new(code: Code, column: &'static str, value: &str, personal: bool) -> Self {
        let value = if personal && !value.is_empty() { "***".to_owned() } else { value.chars().take(100).collect() };
        Self { code, column, value }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.code.english())?;
        if !self.column.is_empty() {
            write!(f, " ({})", self.column)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_found_by_name() {
        for code in Code::ALL {
            assert_eq!(Code::from_name(code.as_str()), Some(*code));
        }
    }

    #[test]
    fn the_documents_list_every_code_with_its_texts() {
        let list = include_str!("../../docs/errors.md");
        for code in Code::ALL {
            let row = format!("| `{}` | {} | {} |", code.as_str(), code.english(), code.japanese());
            assert!(list.contains(&row), "docs/errors.md lacks: {row}");
        }
    }

    #[test]
    fn personal_values_are_masked() {
        assert_eq!(Fault::new(Code::BadText, "familyName", "佐藤", true).value, "***");
        assert_eq!(Fault::new(Code::BadEnum, "role", "pupil", false).value, "pupil");
    }
}
