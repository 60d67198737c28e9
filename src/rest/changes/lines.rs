//! Changes in bulk: one in each line of JSON, up to a position that is fixed at the beginning.

use std::time::Duration;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use tokio::sync::mpsc;

use super::parameters::Wish;
use super::{LastLine, Request, Source};
use crate::feed::Item;
use crate::rest::POSITION;
use crate::rest::error::HubError;
use crate::rest::pieces::{self, Halt, Piece};

/// Changes read at a time. No connection to the database is held while they are sent.
const STEP: usize = 2_000;
/// Bytes gathered before they are sent.
const CHUNK: usize = 64 * 1024;

/// An error before the first line is still an answer; one after it breaks the connection off.
pub(super) async fn answer(request: Request, wish: Wish, media: &'static str) -> Result<Response, HubError> {
    let Request { source, session, head } = request;
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(media)), (POSITION, HeaderValue::from(head))];
    pieces::answer(session, "changes in bulk", headers, move |sender| async move {
        let until = wish.until.unwrap_or(head);
        write(&source, &wish, until, &sender).await
    })
    .await
}

async fn write(source: &Source, wish: &Wish, until: i64, sender: &mpsc::Sender<Piece>) -> Result<(), Halt> {
    let patience = Duration::from_secs(source.hub.config.stalled_seconds);
    let shown = source.shown(wish);
    let (mut after, mut last) = (wish.after, None);
    let mut text = Vec::new();
    while after < until {
        let page = source.read(wish, (after, until), STEP, last).await?;
        source.record(&page);
        for told in &page.told {
            last = Some(told.change.position);
            serde_json::to_writer(&mut text, &Item::new(&told.change, told.previous, shown))?;
            text.push(b'\n');
            if text.len() >= CHUNK {
                pieces::hand_on(sender, Piece::Bytes(std::mem::take(&mut text).into()), patience).await?;
            }
        }
        after = page.to;
    }
    serde_json::to_writer(&mut text, &LastLine { position: until, end: true })?;
    text.push(b'\n');
    pieces::hand_on(sender, Piece::Bytes(text.into()), patience).await?;
    pieces::hand_on(sender, Piece::End, patience).await?;
    Ok(())
}
