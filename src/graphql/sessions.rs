//! Connections that stay open: whether their tokens still hold, and when the server stops.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use crate::auth::{Auth, Client};

/// How often tokens are looked at again. What was revoked ends after this and [`crate::auth::REMEMBERED`] at the latest.
const LOOK: Duration = Duration::from_secs(2);
/// How long a server that stops waits for its sessions to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// All sessions of the process.
pub struct Sessions {
    auth: Arc<Auth>,
    /// By token: its client as it stands, none when the token has ended. One look serves all sessions of a token.
    tokens: Mutex<HashMap<Arc<str>, watch::Sender<Option<Client>>>>,
    stopping: watch::Sender<bool>,
}

/// One session's view.
pub struct Session {
    client: Client,
    address: Option<IpAddr>,
    token: watch::Receiver<Option<Client>>,
    stopping: watch::Receiver<bool>,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The token has ended or was revoked.
    Unauthenticated,
    /// The client may do other things now, or call from elsewhere.
    Forbidden,
    /// The server stops.
    Stopping,
}

impl Sessions {
    pub fn start(auth: Arc<Auth>) -> Arc<Self> {
        let sessions = Arc::new(Self { auth, tokens: Mutex::default(), stopping: watch::Sender::new(false) });
        tokio::spawn(look(Arc::downgrade(&sessions)));
        sessions
    }

    /// Begins a session of a client that has been let in.
    pub fn enter(&self, token: &str, client: &Client, address: Option<IpAddr>) -> Session {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tokens.entry(token.into()).or_insert_with(|| watch::Sender::new(Some(client.clone())));
        Session { client: client.clone(), address, token: known.subscribe(), stopping: self.stopping.subscribe() }
    }

    /// A receiver for those that are not let in yet.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Tells all sessions to end.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until they have.
    pub async fn ended(&self) {
        let _ = tokio::time::timeout(GOODBYE, self.stopping.closed()).await;
    }

    fn open(&self) -> Vec<Arc<str>> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, client| client.receiver_count() > 0);
        tokens.keys().cloned().collect()
    }

    fn tell(&self, token: &str, client: Option<Client>) {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = tokens.get(token) {
            sender.send_replace(client);
        }
    }
}

async fn look(sessions: Weak<Sessions>) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        let Some(sessions) = sessions.upgrade() else { return };
        for token in sessions.open() {
            // A database that is away ends no session.
            if let Ok(client) = sessions.auth.bearer(&token).await {
                sessions.tell(&token, client);
            }
        }
    }
}

impl Session {
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Resolves when the session is over. May be dropped and asked again.
    pub async fn over(&mut self) -> Over {
        let Self { client, address, token, stopping } = self;
        let verdict = |now: &Option<Client>| match now {
            None => Some(Over::Unauthenticated),
            Some(now) if now.scopes != client.scopes || !now.may_call_from(*address) => Some(Over::Forbidden),
            Some(_) => None,
        };
        let ended = async {
            match token.wait_for(|now| verdict(now).is_some()).await {
                Ok(now) => verdict(&now).unwrap_or(Over::Unauthenticated),
                Err(_) => Over::Stopping,
            }
        };
        tokio::select! {
            over = ended => over,
            _ = stopping.wait_for(|stopping| *stopping) => Over::Stopping,
        }
    }
}
