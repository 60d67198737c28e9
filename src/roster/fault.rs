//! What can be wrong with a record. One table gives each fault its code, what is wrong and how to mend it.

/// A rule that a record broke, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: Code,
    /// CSV column of the field (`familyName`), or empty when no single field is meant.
    pub column: &'static str,
    /// The offending value, masked when the field is personal.
    pub value: String,
}

/// A language that the texts are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    Japanese,
}

/// Codes that are about one thing.
pub struct Section {
    pub english: &'static str,
    pub japanese: &'static str,
    pub codes: &'static [Code],
}

macro_rules! codes {
    ($($section:literal / $section_ja:literal {
        $($variant:ident $name:literal: $en:literal, $mend:literal, $ja:literal, $mend_ja:literal;)*
    })*) => {
        /// The closed list of faults. Codes are stable: clients and boards' procedures may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($($variant,)*)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$($(Code::$variant),*),*];

            /// All codes, by what they are about.
            pub const SECTIONS: &'static [Section] = &[
                $(Section { english: $section, japanese: $section_ja, codes: &[$(Code::$variant),*] }),*
            ];

            /// Stable name, for example `missing_required`.
            pub const fn as_str(self) -> &'static str {
                match self { $($(Code::$variant => $name),*),* }
            }
            /// What is wrong.
            pub const fn message(self, language: Language) -> &'static str {
                let (english, japanese) = match self { $($(Code::$variant => ($en, $ja)),*),* };
                language.choose(english, japanese)
            }
            /// How to mend it.
            pub const fn mend(self, language: Language) -> &'static str {
                let (english, japanese) = match self { $($(Code::$variant => ($mend, $mend_ja)),*),* };
                language.choose(english, japanese)
            }
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|c| c.as_str() == name)
            }
        }
    };
}

impl Language {
    pub const fn choose<T: Copy>(self, english: T, japanese: T) -> T {
        match self {
            Self::English => english,
            Self::Japanese => japanese,
        }
    }
}

// Each code: its name; what is wrong and how to mend it; the same in Japanese.
codes! {
    "The package" / "セット全体" {
        NotAZip "not_a_zip":
            "The file is no zip, no CSV file of the binding and no workbook (.xlsx), or it is damaged.",
            "Export the set again and send the file as it is.",
            "ZIPファイルでも、OneRosterのCSVファイルでも、Excelブック（.xlsx）でもないか、壊れています。",
            "もう一度書き出し、ファイルをそのまま送ってください。";
        UnrecognizedFile "unrecognized_file":
            "Neither the name of this file or sheet nor its header tells which file of the binding it is.",
            "Name it as the binding does, such as users.csv or users, or correct its header.",
            "このファイルまたはシートが、名前からも見出しからもOneRosterのどのファイルか分かりません。",
            "users.csv や users のように定められた名前にするか、見出しを直してください。";
        ModeWithManifest "mode_with_manifest":
            "A mode was given, but there is a manifest, which says the mode of each file.",
            "Leave the mode out.",
            "mode が指定されましたが、各ファイルの区分はマニフェストにあります。",
            "mode の指定をやめてください。";
        BadWorkbook "bad_workbook":
            "The workbook cannot be read: it is damaged, protected by a password, or empty.",
            "Save it again in Excel as .xlsx without a password.",
            "ブックを読めません（破損、パスワード保護、または空）。",
            "Excelでパスワードなしの .xlsx として保存し直してください。";
        BadEntry "bad_entry":
            "An entry of the zip cannot be read: it is damaged, encrypted, a link, or in a folder.",
            "Put all files at the root of the zip, without a password, and zip them again.",
            "ZIP内のファイルを読めません（破損、暗号化、リンク、またはフォルダー内）。",
            "すべてのファイルを最上位に置き、パスワードなしでZIPを作り直してください。";
        TooManyFiles "too_many_files":
            "The zip holds more entries than are looked at.",
            "Leave only the files of the set in it, 22 at most.",
            "ZIP内のファイルが多すぎます。",
            "セットのファイル（最大22個）だけを入れてください。";
        SetTooLarge "set_too_large":
            "Unpacked, the set is larger than this hub takes. What follows was not read.",
            "Split the set, or ask the operator to raise the limit.",
            "展開後のセットが上限を超えています。これ以降は読みませんでした。",
            "セットを分けるか、運用担当者に上限の引き上げを依頼してください。";
        DuplicateFile "duplicate_file":
            "The file is in the zip more than once.",
            "Keep one of them.",
            "同じファイルがZIP内に複数あります。",
            "1つだけ残してください。";
        UnknownFile "unknown_file":
            "The CSV binding knows no file of this name.",
            "Remove it, or name it exactly as the binding does, in upper and lower case too.",
            "CSVバインディングにないファイル名です。",
            "ファイルを除くか、大文字・小文字も含めて正確な名前にしてください。";
        ManifestAbsent "manifest_absent":
            "There is no manifest.csv, which every OneRoster 1.2 set has.",
            "Add manifest.csv at the root of the zip.",
            "manifest.csv がありません。OneRoster 1.2 では必須です。",
            "manifest.csv をZIPの最上位に入れてください。";
        ManifestVersion "manifest_version":
            "This version is not supported.",
            "Write 1.0 as manifest.version, and 1.1, 1.2, 1.2.1 or 1.2_JP as oneroster.version.",
            "対応していない版です。",
            "manifest.version は 1.0、oneroster.version は 1.1、1.2、1.2.1、1.2_JP のいずれかにしてください。";
        ManifestBadMode "manifest_bad_mode":
            "This is no mode of a file.",
            "Write absent, bulk or delta.",
            "ファイルの区分として使えない値です。",
            "absent、bulk、delta のいずれかにしてください。";
        ManifestProperty "manifest_property":
            "A property is missing, unknown or there twice.",
            "Write each property of the binding once.",
            "プロパティーが不足しているか、未知のものか、重複しています。",
            "定められたプロパティーを1回ずつ書いてください。";
        ManifestMissingFile "manifest_missing_file":
            "The manifest declares this file, but it is not in the set.",
            "Add the file, or declare it absent.",
            "マニフェストにあるファイルが含まれていません。",
            "ファイルを加えるか、absent としてください。";
        ManifestUndeclaredFile "manifest_undeclared_file":
            "The manifest says absent, but the file is in the set.",
            "Declare it bulk or delta, or remove it.",
            "マニフェストでは absent ですが、ファイルが含まれています。",
            "bulk または delta とするか、ファイルを除いてください。";
    }
    "A file" / "ファイル" {
        BadCharacter "bad_character":
            "These bytes are no character of the file's encoding, or a character was lost and replaced before (U+FFFD).",
            "Write the value again, or save the file as UTF-8.",
            "ファイルの文字コードとして読めないか、以前の変換で失われた文字（U+FFFD）があります。",
            "値を入力し直すか、UTF-8で保存してください。";
        WrongSeparator "wrong_separator":
            "The columns are separated by semicolons or tabs, not by commas. The file was not read.",
            "Save it with commas: in Excel as CSV UTF-8 (Comma delimited).",
            "列がコンマではなく、セミコロンまたはタブで区切られています。このファイルは読みませんでした。",
            "コンマ区切りで保存してください（Excelでは「CSV UTF-8（コンマ区切り）」）。";
        SeparatorLine "separator_line":
            "The file begins with a line sep=… of Excel, not with its header. The file was not read.",
            "Remove the line.",
            "ファイルの先頭が見出しではなく、Excelの sep=… の行です。このファイルは読みませんでした。",
            "その行を除いてください。";
        LineEnds "line_ends":
            "The lines end in CR alone, as on old Macintosh computers. The file was not read.",
            "Save it with the line ends of Windows (CRLF).",
            "行末が古いMacintoshの改行（CRのみ）です。このファイルは読みませんでした。",
            "Windowsの改行（CRLF）で保存してください。";
        UnclosedQuote "unclosed_quote":
            "The quote that begins in this line is never closed. What follows could not be read.",
            "Close the quote; write a quote inside a value twice.",
            "この行で始まる引用符が閉じられていません。これ以降は読めませんでした。",
            "引用符を閉じてください。値の中の引用符は2つ重ねてください。";
        HeaderMissing "header_missing":
            "This column is missing from the header.",
            "Write all columns of the binding, also those left empty.",
            "見出しに必要な列がありません。",
            "空の列も含め、定められたすべての列を書いてください。";
        HeaderOrder "header_order":
            "The columns do not stand in the binding's order.",
            "Put them in its order; metadata.… columns come last.",
            "列の順序が定めと異なります。",
            "定められた順序に並べてください。metadata.… の列は最後です。";
        HeaderDuplicate "header_duplicate":
            "The column is in the header twice, or has no name.",
            "Remove the column.",
            "見出しの列名が重複しているか、空です。",
            "その列を除いてください。";
        ExtraColumn "extra_column":
            "The binding knows no such column.",
            "Remove it, or name it metadata.… and put it at the right end.",
            "定めにない列です。",
            "列を除くか、metadata.… という名前で右端に置いてください。";
        NoRows "no_rows":
            "The file has no rows.",
            "Leave the file out and declare it absent.",
            "データ行がありません。",
            "ファイルを除き、absent としてください。";
        RowWidth "short_row":
            "The row has another number of fields than the header.",
            "Write as many fields as the header has, and quote values that hold a comma.",
            "行の項目数が見出しと一致しません。",
            "見出しと同じ数の項目を書き、コンマを含む値は引用符で囲んでください。";
    }
    "A row" / "行" {
        BulkWithStatus "bulk_with_status":
            "status or dateLastModified is filled in a bulk file.",
            "Leave both blank, or declare the file delta.",
            "bulkファイルの status または dateLastModified に値があります。",
            "両方とも空にするか、ファイルを delta としてください。";
        DeltaWithoutStatus "delta_without_status":
            "status or dateLastModified is blank in a delta file.",
            "Fill both, or declare the file bulk.",
            "deltaファイルの status または dateLastModified が空です。",
            "両方に値を入れるか、ファイルを bulk としてください。";
        DuplicateSourcedId "duplicate_sourced_id":
            "Another row of this file, or item of this list, has the same sourcedId.",
            "Keep one of them, or give the other its own sourcedId.",
            "同じ sourcedId の行または項目がすでにあります。",
            "1つだけ残すか、別の sourcedId を付けてください。";
    }
    "A value" / "値" {
        MissingRequired "missing_required":
            "A required value is blank.",
            "Fill it.",
            "必須の値が空です。",
            "値を入れてください。";
        BadSourcedId "bad_sourced_id":
            "This is no id.",
            "Write 1 to 255 characters out of 0-9 A-Z a-z . - _ / @",
            "IDとして使えない値です。",
            "0-9 A-Z a-z . - _ / @ からなる1～255文字にしてください。";
        BadText "bad_text":
            "The text holds a line break, tab or other control character.",
            "Remove it.",
            "文字列に改行、タブ、またはその他の制御文字があります。",
            "その文字を除いてください。";
        TooLong "too_long":
            "The value is longer than 4,000 characters, or the row than 1 MiB or 1,000 fields.",
            "Shorten it.",
            "値が4,000文字、または行が1 MiBか1,000項目を超えています。",
            "短くしてください。";
        BadEnum "bad_enum":
            "The value is not in the list of this column.",
            "Write a value of the list; upper and lower case count.",
            "この列で使えない値です。",
            "定められた値にしてください。大文字・小文字も区別されます。";
        BadBoolean "bad_boolean":
            "The value is neither true nor false.",
            "Write true or false, in lower case.",
            "真偽値ではありません。",
            "小文字の true または false にしてください。";
        BadDate "bad_date":
            "This is no date.",
            "Write YYYY-MM-DD, a day of the calendar.",
            "日付として読めません。",
            "YYYY-MM-DD 形式で、実在する日にしてください。";
        BadDateTime "bad_datetime":
            "This is no time.",
            "Write YYYY-MM-DDTHH:MM:SS.sssZ, in UTC.",
            "日時として読めません。",
            "YYYY-MM-DDTHH:MM:SS.sssZ 形式（UTC）にしてください。";
        BadYear "bad_year":
            "This is no year.",
            "Write four digits.",
            "年として読めません。",
            "4桁の数字にしてください。";
        BadInteger "bad_integer":
            "This is no whole number.",
            "Write digits only.",
            "整数ではありません。",
            "数字だけで書いてください。";
        BadList "bad_list":
            "The list has blanks around its items, or empty items.",
            "Separate the items by commas alone.",
            "一覧の項目の前後に空白があるか、空の項目があります。",
            "項目をコンマだけで区切ってください。";
        BadPairs "bad_pairs":
            "The pairs cannot be read.",
            "Write {type:identifier}, separated by commas.",
            "組として読めません。",
            "{type:identifier} の形でコンマ区切りにしてください。";
    }
    "A cell of a workbook" / "Excelブックのセル" {
        FormulaCell "formula_cell":
            "The cell holds a formula, whose result may be out of date.",
            "Copy the column and paste it as values.",
            "セルに数式があります。計算結果が最新とは限りません。",
            "列をコピーし、値として貼り付けてください。";
        ErrorCell "error_cell":
            "The cell shows an error, such as #N/A.",
            "Write the value.",
            "セルが #N/A などのエラーになっています。",
            "値を入力してください。";
        TypedCell "typed_cell":
            "Excel holds a number, a date or a truth value in this cell, which the column does not: zeros in front, or what was typed, may be lost.",
            "Format the column as text and write the value again.",
            "セルの値が数値、日付、または論理値になっていて、この列には使えません。先頭の0や入力した文字が失われた可能性があります。",
            "列の書式を文字列にして、値を入力し直してください。";
    }
    "Rules of the standard" / "標準の規則" {
        DanglingReference "dangling_reference":
            "No record of this sourcedId has been handed in, nor (bulk files aside) is one in the roster.",
            "Hand in the record as well, or correct the sourcedId.",
            "この sourcedId の参照先が、提出されたデータにも（bulkファイルを除き）名簿にもありません。",
            "参照先のレコードも提出するか、sourcedId を直してください。";
        ReferenceType "reference_type":
            "The record referred to has the wrong type.",
            "Refer to a school from a class or an enrollment, and to a schoolYear session from a course.",
            "参照先の種別が違います。",
            "クラスと在籍は学校を、コースは schoolYear を参照するようにしてください。";
        DatesReversed "dates_reversed":
            "The end lies before the beginning.",
            "Correct one of the two dates.",
            "終了日が開始日より前です。",
            "どちらかの日付を直してください。";
        SubjectCodes "subject_codes":
            "subjects and subjectCodes have different numbers of items.",
            "Write one code for each subject, or no codes.",
            "subjects と subjectCodes の項目数が一致しません。",
            "教科ごとにコードを1つ書くか、コードをすべて空にしてください。";
        PrimaryNotTeacher "primary_not_teacher":
            "An enrollment that is no teacher's is primary.",
            "Write false, or leave it blank.",
            "教員以外の在籍の primary が true です。",
            "false にするか、空にしてください。";
        SecondPrimaryRole "second_primary_role":
            "The user already has a primary role at this org.",
            "Keep one primary role for each org, and make the others secondary.",
            "この利用者は、この組織ですでに primary の役割を持っています。",
            "組織ごとに primary を1つだけ残し、ほかは secondary にしてください。";
        PrimaryOrgWithoutRole "primary_org_without_role":
            "The user has no role at the org named as primary.",
            "Add a role there, or name another org.",
            "primaryOrg の組織での役割がありません。",
            "その組織での役割を加えるか、別の組織を指定してください。";
        UserWithoutRole "user_without_role":
            "The user has no role, or would lose the last one.",
            "Give every active user at least one role.",
            "利用者に役割がないか、最後の役割がなくなります。",
            "有効な利用者には最低1つの役割を付けてください。";
        ForeignProfile "foreign_profile":
            "The profile belongs to another user.",
            "Name a profile of the same user.",
            "ほかの利用者のプロフィールです。",
            "同じ利用者のプロフィールを指定してください。";
        OwnParent "own_parent":
            "The record names itself as parent.",
            "Name another one, or leave it blank.",
            "自分自身を親としています。",
            "別のレコードを指定するか、空にしてください。";
        StillReferredTo "still_referred_to":
            "An active record (left) refers to one that the revert would withdraw (right).",
            "Change it first, or revert what made it.",
            "有効なレコード（左）が、取り消しで取り下げられるレコード（右）を参照しています。",
            "先に変更するか、そのレコードを作った取り込みを取り消してください。";
    }
    "A document written over the API" / "APIで書き込む文書" {
        UnknownMember "unknown_member":
            "The hub knows no such member here.",
            "Remove it; extensions stand in metadata.",
            "このメンバーは使えません。",
            "メンバーを除いてください。拡張は metadata に置きます。";
        WrongType "wrong_type":
            "The JSON value has another type than this member wants.",
            "Write a string, a list or an object, as the member wants.",
            "JSONの値の型がこのメンバーと合いません。",
            "メンバーに合わせて、文字列、配列、オブジェクトのいずれかにしてください。";
        TooMany "too_many":
            "The list has more items than the hub takes.",
            "Write at most 200 roles or profiles, 10,000 of anything else.",
            "一覧の項目が多すぎます。",
            "役割とプロフィールは200件、その他は10,000件までにしてください。";
        DuplicateMember "duplicate_member":
            "The member stands twice in one object.",
            "Keep one of them.",
            "同じオブジェクトに同じメンバーが重複しています。",
            "1つだけ残してください。";
        SourcedIdMismatch "sourced_id_mismatch":
            "The document names another sourcedId than the address or the operation.",
            "Name the same one, or leave it out of the document.",
            "文書の sourcedId がURLまたは操作の sourcedId と異なります。",
            "同じものにするか、文書から除いてください。";
        OneCredential "one_credential":
            "A profile has exactly one credential.",
            "Write one.",
            "プロフィールの credentials はちょうど1件です。",
            "1件にしてください。";
        DerivedMember "derived_member":
            "This member follows from other records.",
            "Change their parent instead.",
            "このメンバーはほかのレコードから決まります。",
            "ほかのレコードの parent を変更してください。";
        WithdrawnAndChanged "withdrawn_and_changed":
            "A document whose status is tobedeleted withdraws a record that stands as the document says. It neither creates nor changes one.",
            "Send the record as it stands with this status, or delete it.",
            "status が tobedeleted の文書は、内容が同じレコードを取り下げるだけで、作成や変更はできません。",
            "現在の内容のままこの status にするか、DELETE で取り下げてください。";
        UnknownRecord "unknown_record":
            "There is no record of this sourcedId.",
            "Correct the sourcedId, or create the record.",
            "この sourcedId のレコードはありません。",
            "sourcedId を直すか、レコードを作成してください。";
        AlreadyExists "already_exists":
            "There is an active record of this sourcedId already.",
            "Change that one, or choose another sourcedId.",
            "この sourcedId の有効なレコードがすでにあります。",
            "そのレコードを変更するか、別の sourcedId にしてください。";
        PreconditionFailed "precondition_failed":
            "The record is not the version that was asked for.",
            "Read it again.",
            "レコードは指定された版ではありません。",
            "読み直してください。";
        BadEntityTag "bad_entity_tag":
            "This is no entity tag.",
            "Write it \"…\" as in ETag, several separated by commas, or * for any.",
            "エンティティタグではありません。",
            "ETag のとおり \"…\" の形で、複数はコンマ区切りで書いてください。* は任意の版を表します。";
        DuplicateOperation "duplicate_operation":
            "Another operation of this batch is on the same record.",
            "Make one operation of them.",
            "同じレコードへの操作がこのバッチにすでにあります。",
            "1つの操作にまとめてください。";
    }
    "The Japan profile" / "日本プロファイル" {
        BadGrade "bad_grade":
            "This is no grade code of the Japan profile.",
            "Write one of E1–E3, P1–P6, J1–J3, H1–H3.",
            "日本プロファイルの学年コードではありません。",
            "E1～E3、P1～P6、J1～J3、H1～H3 のいずれかにしてください。";
        HalfWidthKatakana "half_width_katakana":
            "The text holds half-width katakana.",
            "Use full-width ones.",
            "半角カタカナがあります。",
            "全角カタカナにしてください。";
        NotKatakana "not_katakana":
            "The reading is not in full-width katakana.",
            "Write it in full-width katakana.",
            "ふりがなが全角カタカナではありません。",
            "全角カタカナで記入してください。";
        CourseCodeNotBlank "course_code_not_blank":
            "courseCode is filled, which the Japan profile wants blank.",
            "Leave it blank.",
            "courseCode に値があります。日本プロファイルでは空です。",
            "空にしてください。";
    }
    "Editions and strict imports" / "エディションと厳格な取り込み" {
        EditionColumns "edition_columns":
            "The edition that was named does not have this column.",
            "Name another edition, or none.",
            "指定されたエディションにはこの列がありません。",
            "別のエディションを指定するか、指定をやめてください。";
        EditionDelta "edition_delta":
            "Sets of OneRoster 1.1 are read in bulk only.",
            "Export the whole set as bulk.",
            "OneRoster 1.1 は bulk のセットだけを読み込みます。",
            "全体を bulk で書き出してください。";
        MinimumSet "minimum_set":
            "A bulk set lacks this file, without which it is not complete.",
            "Add the file.",
            "bulkのセットに必要なファイルがありません。",
            "ファイルを加えてください。";
        SecondaryWithoutPrimary "secondary_without_primary":
            "The user has a secondary role, but no primary one.",
            "Give the user a primary role.",
            "この利用者には secondary の役割だけがあり、primary の役割がありません。",
            "primary の役割を加えてください。";
        SecondPrimaryTeacher "second_primary_teacher":
            "The class already has a primary teacher at this time.",
            "Keep one enrollment with primary true.",
            "このクラスには、同じ期間にすでに primary の教員がいます。",
            "primary が true の在籍を1つだけにしてください。";
        OutsideSession "outside_session":
            "The enrollment begins before or ends after the sessions of its class.",
            "Correct the dates, or the sessions of the class.",
            "在籍の期間が、クラスの学期または年度からはみ出しています。",
            "日付またはクラスの学期・年度を直してください。";
        FileName "file_name":
            "The name of the file is not RO_YYYYMMDD_code.zip.",
            "Rename it: the day that the data show, and the code of the school or board.",
            "ファイル名が RO_YYYYMMDD_コード.zip ではありません。",
            "データの基準日と、学校コードまたは設置者コードを付けた名前にしてください。";
        NotUuid "not_uuid":
            "The id is not a UUID of version 4 in lower case.",
            "Give the record such an id.",
            "IDが小文字のUUIDバージョン4ではありません。",
            "小文字のUUIDバージョン4にしてください。";
        RequiredByProfile "required_by_profile":
            "The value is blank, which the Japan profile or its importers require.",
            "Fill it.",
            "日本プロファイルまたはその取り込み側で必須の値が空です。",
            "値を入れてください。";
        NotInProfile "not_in_profile":
            "The standard has this value, but the Japan profile does not have it here.",
            "Use a value of the profile.",
            "標準にはありますが、日本プロファイルのこの列では使えない値です。",
            "プロファイルで定められた値にしてください。";
        TitleForm "title_form":
            "The title does not have its form: a school year is YYYY年度, a course YYYY年度 and its name.",
            "Write the title so.",
            "タイトルの形式が違います。年度は「YYYY年度」、コースは「YYYY年度」と名称です。",
            "その形式で書いてください。";
        SchoolYearDates "school_year_dates":
            "A school year goes from 1 April to 31 March and is named after the year in which it begins.",
            "Correct the date or the year.",
            "年度は4月1日から翌年3月31日までで、schoolYear は始まる年です。",
            "日付または年を直してください。";
        BadSchoolCode "bad_school_code":
            "This is no school code (13 characters) of a school, or no board code (6 digits) of a district.",
            "Write the code that the ministry has given.",
            "学校の学校コード（13文字）、または district の教育委員会コード（6桁）ではありません。",
            "定められたコードを書いてください。";
        ParentByType "parent_by_type":
            "A school has its district as parent, and a district has none.",
            "Fill the parent of the school, or leave that of the district blank.",
            "学校の親は district で、district には親がありません。",
            "学校には親を指定し、district の親は空にしてください。";
        DuplicateMasterIdentifier "duplicate_master_identifier":
            "Another user has the same userMasterIdentifier.",
            "Give each person one user, and one identifier.",
            "ほかの利用者が同じ userMasterIdentifier を持っています。",
            "1人につき1つの利用者と識別子にしてください。";
    }
}

impl Fault {
    pub fn new(code: Code, column: &'static str, value: &str, personal: bool) -> Self {
        let value = if personal && !value.is_empty() { "***".to_owned() } else { value.chars().take(100).collect() };
        Self { code, column, value }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.code.message(Language::English))?;
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
    fn personal_values_are_masked() {
        assert_eq!(Fault::new(Code::BadText, "familyName", "佐藤", true).value, "***");
        assert_eq!(Fault::new(Code::BadEnum, "role", "pupil", false).value, "pupil");
    }
}
