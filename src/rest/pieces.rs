//! A long answer that a task of its own writes while it is sent.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, IntoResponseParts, Response};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::answer::Broken;
use super::error::HubError;
use crate::graphql::sessions::Session;

/// What becomes of an answer on its way.
pub enum Piece {
    Bytes(Bytes),
    /// It is whole.
    End,
}

/// Why a piece was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    #[error("the client took nothing of it for too long")]
    Stalled,
    #[error("the client is gone")]
    Gone,
}

/// Why a long answer of a session ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    #[error(transparent)]
    Database(#[from] Arc<sqlx::Error>),
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("the token has ended, or the server stops")]
    Over,
}

/// The answer that `write` writes, as long as the session lasts. An error before the first piece is still an answer; one
/// after it breaks the connection off. `what` names it in the log.
pub async fn answer<W>(
    mut session: Session,
    what: &'static str,
    headers: impl IntoResponseParts,
    write: impl FnOnce(mpsc::Sender<Piece>) -> W,
) -> Result<Response, HubError>
where
    W: Future<Output = Result<(), Halt>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(2);
    let written = write(sender);
    let writing = tokio::spawn(async move {
        let written = tokio::select! {
            _ = session.over() => Err(Halt::Over),
            written = written => written,
        };
        match &written {
            Ok(()) | Err(Halt::NotTaken(NotTaken::Gone)) => {}
            Err(error) => tracing::warn!(%error, what, "an answer broke off"),
        }
        written
    });
    match begun(receiver).await {
        Some(body) => Ok((headers, Body::from_stream(body)).into_response()),
        None => match writing.await {
            Ok(Err(Halt::Database(error))) => Err(error.into()),
            Ok(Err(Halt::Over)) => Err(HubError::unavailable()),
            _ => Err(HubError::internal()),
        },
    }
}

/// Hands a piece on. A client that takes nothing for the time of `patience` is left.
pub async fn hand_on(sender: &mpsc::Sender<Piece>, piece: Piece, patience: Duration) -> Result<(), NotTaken> {
    let sent = tokio::time::timeout(patience, sender.send(piece)).await;
    sent.map_err(|_| NotTaken::Stalled)?.map_err(|_| NotTaken::Gone)
}

/// The answer from its first piece on; `None`: nothing was written. What ends without [`Piece::End`] breaks the
/// connection off, so that nobody takes it for whole.
pub async fn begun(
    mut receiver: mpsc::Receiver<Piece>,
) -> Option<impl Stream<Item = Result<Bytes, Broken>> + Send + 'static> {
    let Some(Piece::Bytes(first)) = receiver.recv().await else { return None };
    let rest = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(receiver))),
            Some(Piece::End) => None,
            None => Some((Err(Broken), None)),
        }
    });
    // Compression asks once more after the end.
    Some(stream::iter([Ok(first)]).chain(rest).fuse())
}
