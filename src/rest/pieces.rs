//! A long answer that a task of its own writes while it is sent.

use std::time::Duration;

use axum::body::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::answer::Broken;

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
