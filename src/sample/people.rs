//! The names: tables of common Japanese family and given names (with rare characters on purpose,
//! which importers like to lose) and a few names from abroad. Combined at random; nobody is real.

use super::key::{Id, Keys, Of};

/// A name in writing and in katakana.
pub(super) type Name = (&'static str, &'static str);

/// The frequent ones come first; the last ones are rare or hard to encode.
const FAMILY: &[Name] = &[
    ("佐藤", "サトウ"),
    ("鈴木", "スズキ"),
    ("高橋", "タカハシ"),
    ("田中", "タナカ"),
    ("伊藤", "イトウ"),
    ("渡辺", "ワタナベ"),
    ("山本", "ヤマモト"),
    ("中村", "ナカムラ"),
    ("小林", "コバヤシ"),
    ("加藤", "カトウ"),
    ("吉田", "ヨシダ"),
    ("山田", "ヤマダ"),
    ("佐々木", "ササキ"),
    ("山口", "ヤマグチ"),
    ("松本", "マツモト"),
    ("井上", "イノウエ"),
    ("木村", "キムラ"),
    ("林", "ハヤシ"),
    ("斎藤", "サイトウ"),
    ("清水", "シミズ"),
    ("山崎", "ヤマザキ"),
    ("森", "モリ"),
    ("池田", "イケダ"),
    ("橋本", "ハシモト"),
    ("阿部", "アベ"),
    ("石川", "イシカワ"),
    ("山下", "ヤマシタ"),
    ("中島", "ナカジマ"),
    ("石井", "イシイ"),
    ("小川", "オガワ"),
    ("前田", "マエダ"),
    ("岡田", "オカダ"),
    ("長谷川", "ハセガワ"),
    ("藤田", "フジタ"),
    ("後藤", "ゴトウ"),
    ("近藤", "コンドウ"),
    ("村上", "ムラカミ"),
    ("遠藤", "エンドウ"),
    ("青木", "アオキ"),
    ("坂本", "サカモト"),
    ("福田", "フクダ"),
    ("太田", "オオタ"),
    ("西村", "ニシムラ"),
    ("藤井", "フジイ"),
    ("金子", "カネコ"),
    ("三浦", "ミウラ"),
    ("藤原", "フジワラ"),
    ("岡本", "オカモト"),
    ("松田", "マツダ"),
    ("中川", "ナカガワ"),
    ("中野", "ナカノ"),
    ("原田", "ハラダ"),
    ("小野", "オノ"),
    ("田村", "タムラ"),
    ("竹内", "タケウチ"),
    ("和田", "ワダ"),
    ("中山", "ナカヤマ"),
    ("石田", "イシダ"),
    ("上田", "ウエダ"),
    ("森田", "モリタ"),
    ("柴田", "シバタ"),
    ("酒井", "サカイ"),
    ("工藤", "クドウ"),
    ("横山", "ヨコヤマ"),
    ("宮崎", "ミヤザキ"),
    ("宮本", "ミヤモト"),
    ("内田", "ウチダ"),
    ("高木", "タカギ"),
    ("安藤", "アンドウ"),
    ("谷口", "タニグチ"),
    ("大野", "オオノ"),
    ("丸山", "マルヤマ"),
    ("今井", "イマイ"),
    ("武田", "タケダ"),
    ("上野", "ウエノ"),
    ("杉山", "スギヤマ"),
    ("千葉", "チバ"),
    ("村田", "ムラタ"),
    ("増田", "マスダ"),
    ("小島", "コジマ"),
    ("平野", "ヒラノ"),
    ("菅原", "スガワラ"),
    ("久保", "クボ"),
    ("新井", "アライ"),
    ("渡部", "ワタベ"),
    ("髙橋", "タカハシ"),
    ("渡邉", "ワタナベ"),
    ("齋藤", "サイトウ"),
    ("濱田", "ハマダ"),
    ("神田", "カンダ"),
    ("東", "ヒガシ"),
    ("小鳥遊", "タカナシ"),
    ("勅使河原", "テシガワラ"),
    ("𠮷野", "ヨシノ"),
];

const BOYS: &[Name] = &[
    ("陽翔", "ハルト"),
    ("蓮", "レン"),
    ("湊", "ミナト"),
    ("颯真", "ソウマ"),
    ("朝陽", "アサヒ"),
    ("大翔", "ヒロト"),
    ("悠真", "ユウマ"),
    ("律", "リツ"),
    ("新", "アラタ"),
    ("樹", "イツキ"),
    ("蒼", "アオ"),
    ("結翔", "ユイト"),
    ("大和", "ヤマト"),
    ("悠人", "ユウト"),
    ("翔太", "ショウタ"),
    ("健太", "ケンタ"),
    ("拓海", "タクミ"),
    ("陸", "リク"),
    ("海斗", "カイト"),
    ("直樹", "ナオキ"),
    ("一輝", "カズキ"),
    ("涼介", "リョウスケ"),
    ("旭", "アサヒ"),
    ("暖", "ハル"),
    ("晴", "ハレ"),
    ("伊織", "イオリ"),
    ("奏太", "ソウタ"),
    ("匠", "タクミ"),
    ("隼人", "ハヤト"),
    ("健一郎", "ケンイチロウ"),
];

const GIRLS: &[Name] = &[
    ("陽菜", "ヒナ"),
    ("凛", "リン"),
    ("葵", "アオイ"),
    ("結菜", "ユイナ"),
    ("紬", "ツムギ"),
    ("咲良", "サクラ"),
    ("芽依", "メイ"),
    ("莉子", "リコ"),
    ("結愛", "ユア"),
    ("澪", "ミオ"),
    ("美月", "ミツキ"),
    ("さくら", "サクラ"),
    ("ひまり", "ヒマリ"),
    ("心春", "コハル"),
    ("杏", "アン"),
    ("花音", "カノン"),
    ("彩葉", "イロハ"),
    ("琴音", "コトネ"),
    ("詩", "ウタ"),
    ("真央", "マオ"),
    ("美咲", "ミサキ"),
    ("千尋", "チヒロ"),
    ("優奈", "ユウナ"),
    ("あかり", "アカリ"),
    ("楓", "カエデ"),
    ("柚希", "ユズキ"),
    ("栞", "シオリ"),
    ("茜", "アカネ"),
    ("小百合", "サユリ"),
    ("日向子", "ヒナコ"),
];

/// Preferred names are for display and avoid rare forms.
const PLAIN: &[Name] = &[("髙橋", "高橋"), ("𠮷野", "吉野")];

/// Family, given and middle names from abroad.
const ABROAD: &[[Name; 3]] = &[
    [("NGUYEN", "グエン"), ("ANH", "アン"), ("THI", "ティ")],
    [("KIM", "キム"), ("MINSEO", "ミンソ"), ("", "")],
    [("SILVA", "シルバ"), ("LUCAS", "ルーカス"), ("SANTOS", "サントス")],
    [("REYES", "レイエス"), ("MARIA", "マリア"), ("CRUZ", "クルス")],
    [("王", "ワン"), ("浩然", "ハオラン"), ("", "")],
    [("SHRESTHA", "シュレスタ"), ("ANISHA", "アニシャ"), ("", "")],
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sex {
    Male,
    Female,
}

impl Sex {
    /// Takes the lowest bit of a drawn number.
    pub(super) fn drawn(number: u64) -> Self {
        if number & 1 == 1 { Self::Male } else { Self::Female }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Male => "male",
            Self::Female => "female",
        }
    }
}

/// The name of one user.
pub(super) struct Person {
    pub(super) family: Name,
    pub(super) given: Name,
    pub(super) middle: Name,
}

impl Person {
    pub(super) fn of(keys: &Keys, user: Id, sex: Sex) -> Self {
        let n = keys.num(Of::Name, &user.key());
        if n.is_multiple_of(97) {
            let [family, given, middle] = ABROAD[((n >> 8) % ABROAD.len() as u64) as usize];
            return Self { family, given, middle };
        }
        Self {
            family: frequent_first(n >> 8, FAMILY),
            given: frequent_first(n >> 24, if sex == Sex::Male { BOYS } else { GIRLS }),
            middle: ("", ""),
        }
    }

    /// Gives the person another family name than the present one.
    pub(super) fn rename(&mut self, number: u64) {
        let at = (number % FAMILY.len() as u64) as usize;
        self.family = if FAMILY[at].0 == self.family.0 { FAMILY[(at + 1) % FAMILY.len()] } else { FAMILY[at] };
    }

    pub(super) fn preferred_family(&self) -> &'static str {
        let plain = PLAIN.iter().find(|(rare, _)| *rare == self.family.0);
        plain.map_or(self.family.0, |(_, plain)| plain)
    }
}

/// Draws a name so that the first entries of a table come up more often. The exponent is 1.5 and
/// not something closer to life because a square root is exact on every machine: the same options
/// must give the same bytes.
fn frequent_first(number: u64, table: &[Name]) -> Name {
    const STEPS: u64 = 1_000_003;
    let even = (number % STEPS) as f64 / STEPS as f64;
    let at = (table.len() as f64 * even * even.sqrt()) as usize;
    table[at.min(table.len() - 1)]
}
