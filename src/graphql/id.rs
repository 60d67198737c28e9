//! Global ids: what `Node.id` shows and `node(id)` takes. Opaque to clients.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::model::nodes;
use crate::roster::{EntityType, is_sourced_id};

pub fn write(kind: EntityType, sourced_id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{sourced_id}", kind.name()))
}

/// None when it cannot be an id of ours.
pub fn read(id: &str) -> Option<(EntityType, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id).ok()?).ok()?;
    let (kind, sourced_id) = text.split_once(':')?;
    let kind = nodes().find(|node| node.name() == kind)?;
    is_sourced_id(sourced_id).then(|| (kind, sourced_id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back() {
        for kind in nodes() {
            assert_eq!(read(&write(kind, "a/b@c")), Some((kind, "a/b@c".into())));
        }
        for bad in ["", "x", "あ", &write(EntityType::Role, "r"), &write(EntityType::User, "a b")] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
