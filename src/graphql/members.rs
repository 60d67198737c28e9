//! A JSON object whose members are found without parsing what is not asked for.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::model::Form;
use crate::query::fields::top_level;

/// Text of an object without white space between its tokens, as the read models hold it.
#[derive(Debug, Default)]
pub struct Members {
    text: String,
    /// Of each member: begin and end of its name, begin and end of its value.
    spans: Vec<[u32; 4]>,
}

/// A reference as documents hold it.
#[derive(Deserialize)]
struct GuidRef {
    #[serde(rename = "sourcedId")]
    sourced_id: String,
}

impl Members {
    pub fn new(text: String) -> Self {
        let begin = text.as_ptr() as usize;
        let at = |part: &str| (part.as_ptr() as usize - begin) as u32;
        let spans = top_level(&text)
            .into_iter()
            .map(|(name, member)| {
                let (name_at, value_at) = (at(name), at(member) + name.len() as u32 + 3);
                [name_at, name_at + name.len() as u32, value_at, at(member) + member.len() as u32]
            })
            .collect();
        Self { text, spans }
    }

    /// The JSON of a member.
    pub fn raw(&self, name: &str) -> Option<&str> {
        let slice = |from: u32, to: u32| self.text.get(from as usize..to as usize);
        let span = self.spans.iter().find(|span| slice(span[0], span[1]) == Some(name))?;
        slice(span[2], span[3])
    }

    pub fn get<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    /// A member as an answer shows it, as JSON; none when it is missing or cannot be shown so.
    pub fn json(&self, name: &str, form: Form) -> Option<Cow<'_, str>> {
        let raw = self.raw(name)?;
        Some(match form {
            Form::Flag => Cow::Borrowed(if self.get::<Cow<str>>(name)? == "true" { "true" } else { "false" }),
            Form::Integer => Cow::Owned(self.get::<Cow<str>>(name)?.parse::<i32>().ok()?.to_string()),
            Form::Json => Cow::Borrowed(raw),
            Form::Texts => Cow::Borrowed(raw.starts_with('[').then_some(raw)?),
            Form::Id | Form::Text | Form::Date | Form::Time | Form::Enum(_) => {
                Cow::Borrowed(raw.starts_with('"').then_some(raw)?)
            }
        })
    }

    /// The objects of a list.
    pub fn objects(&self, name: &str) -> Vec<Members> {
        let items: Vec<&RawValue> = self.get(name).unwrap_or_default();
        items.into_iter().map(|item| Self::new(item.get().to_owned())).collect()
    }

    /// An object inside.
    pub fn object(&self, name: &str) -> Members {
        self.raw(name).map_or_else(Self::default, |raw| Self::new(raw.to_owned()))
    }

    /// The sourcedId of a GUIDRef.
    pub fn reference(&self, name: &str) -> Option<String> {
        Some(self.get::<GuidRef>(name)?.sourced_id)
    }

    /// The sourcedIds of a list of GUIDRefs.
    pub fn references(&self, name: &str) -> Vec<String> {
        self.get::<Vec<GuidRef>>(name).unwrap_or_default().into_iter().map(|r| r.sourced_id).collect()
    }
}

/// A text as JSON.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_their_form() {
        let members = Members::new(
            r#"{"enabledUser":"false","credits":"3","title":"a\"b","grades":["P1"],"metadata":{"a":1},"odd":7}"#.into(),
        );
        for (member, form, shown) in [
            ("enabledUser", Form::Flag, Some("false")),
            ("credits", Form::Integer, Some("3")),
            ("title", Form::Integer, None),
            ("title", Form::Text, Some(r#""a\"b""#)),
            ("grades", Form::Texts, Some(r#"["P1"]"#)),
            ("metadata", Form::Json, Some(r#"{"a":1}"#)),
            ("odd", Form::Text, None),
            ("nothing", Form::Json, None),
        ] {
            assert_eq!(members.json(member, form).as_deref(), shown, "{member}");
        }
    }

    #[test]
    fn members_are_found_by_name() {
        let members = Members::new(
            r#"{"sourcedId":"a","title":"1,2\"3","parent":{"sourcedId":"p","type":"org"},"terms":[{"sourcedId":"t","type":"x"}],"metadata":{"jp.a":"b"}}"#.into(),
        );
        assert_eq!(members.get::<String>("title").as_deref(), Some("1,2\"3"));
        assert_eq!(members.reference("parent").as_deref(), Some("p"));
        assert_eq!(members.references("terms"), ["t"]);
        assert_eq!(members.object("metadata").get::<String>("jp.a").as_deref(), Some("b"));
        assert_eq!(members.objects("terms")[0].raw("type"), Some("\"x\""));
        assert_eq!(members.raw("nothing"), None);
        assert_eq!(Members::new("{}".into()).raw("a"), None);
    }
}
