//! The list of errors as a document, `docs/errors.md` and `docs/errors.ja.md`: `make generated` writes them.

use std::fmt::Write as _;

use super::fault::{Code, Language};

const ENGLISH: &str = "\
# Errors in what is handed in

Every error of an import names a code from this closed list, and where it was found: file, line (1 is the header, 0 the whole file), column and value. A document [written over the API](writing.md) is told the member instead, such as `roles[0].org.sourcedId`. The value of a field that the binding marks as personal is shown as `***`; ids are shown, since the error could not be mended without them. Codes are stable; texts may be improved.

`GET /rosterhub/v1/imports/{id}/errors`, refused writes and GraphQL send what is wrong as `message` and how to mend it as `mend`, and both in [Japanese](errors.ja.md) as `messageJa` and `mendJa`. The command line prints the English ones.

The source of this document is the table in `src/roster/fault.rs`; `make generated` writes it anew.
";

const JAPANESE: &str = "\
# 提出データのエラー

取り込みのエラーには、この一覧のコードと場所（ファイル、行、列、値）が付きます。行の1は見出し、0はファイル全体です。[APIで書き込む文書](writing.md)では、`roles[0].org.sourcedId` のようにメンバーで場所を示します。個人情報の列の値は `***` と表示します。IDは、直すために必要なので表示します。コードは変わりません。文面は改善することがあります。

`GET /rosterhub/v1/imports/{id}/errors`、拒否された書き込み、GraphQLは、何が誤りかを `message`、直し方を `mend` として、日本語を `messageJa` と `mendJa` として返します。英語版は[こちら](errors.md)です。

この文書は `src/roster/fault.rs` の表から `make generated` で作られます。
";

/// The document, as Markdown.
pub fn markdown(language: Language) -> String {
    let mut text = language.choose(ENGLISH, JAPANESE).to_owned();
    let columns = language.choose("| code | what is wrong | how to mend it |", "| コード | 何が誤りか | 直し方 |");
    for section in Code::SECTIONS {
        let title = language.choose(section.english, section.japanese);
        let _ = write!(text, "\n## {title}\n\n{columns}\n|---|---|---|\n");
        for code in section.codes {
            let (message, mend) = (code.message(language), code.mend(language));
            let _ = writeln!(text, "| `{}` | {message} | {mend} |", code.as_str());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_in_step() {
        for (language, document) in [
            (Language::English, include_str!("../../docs/errors.md")),
            (Language::Japanese, include_str!("../../docs/errors.ja.md")),
        ] {
            assert!(markdown(language) == document, "docs/errors: run 'make generated' and commit the result");
        }
    }

    #[test]
    fn every_text_is_a_sentence_of_its_language() {
        for code in Code::ALL {
            for text in [code.message(Language::English), code.mend(Language::English)] {
                assert!(text.ends_with(['.', '@']) && !text.contains('|'), "{}: {text}", code.as_str());
            }
            for text in [code.message(Language::Japanese), code.mend(Language::Japanese)] {
                assert!(text.ends_with('。') && !text.contains('|'), "{}: {text}", code.as_str());
            }
        }
    }
}
