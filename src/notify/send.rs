//! Brings a message to its receiver, in whatever way that takes; decides nothing.

use std::time::Duration;

use secrecy::SecretString;

use super::event::Note;
use super::http::Http;
use super::mail::{self, Mail};
use super::outbox::Batch;
use super::receiver::{Receiver, Target};
use super::wire::{self, Teller};

/// Longest time for all of one message over HTTP, and for a connection to a mail server.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for all of one mail: servers look into it before they answer.
pub const MAIL_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a message did not get through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// Whether it may get through later.
    pub retry: bool,
    /// Whether it may have got through all the same.
    pub unsure: bool,
    /// The receiver asks to be left alone for so long.
    pub after: Option<Duration>,
    /// What happened, without any part of the address.
    pub text: String,
}

impl Failure {
    pub(super) fn later(text: String) -> Self {
        Self {
            retry: true,
            unsure: false,
            after: None,
            text,
        }
    }

    pub(super) fn never(text: String) -> Self {
        Self {
            retry: false,
            unsure: false,
            after: None,
            text,
        }
    }

    /// All of it was sent, and nobody said what became of it.
    pub(super) fn unanswered(limit: Duration) -> Self {
        Self {
            unsure: true,
            ..Self::timeout(limit)
        }
    }

    pub(super) fn timeout(limit: Duration) -> Self {
        Self::later(format!("no answer within {} s", limit.as_secs()))
    }
}

/// Why nothing can be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The system's certificate store cannot be used.
    #[error("the HTTP client of the notifications cannot be set up")]
    Http(#[source] reqwest::Error),
    /// The same, for mail.
    #[error("TLS for mail cannot be set up")]
    Mail(#[source] mail::SetUpError),
}

/// Who brings messages to one receiver.
#[derive(Clone, Debug)]
pub struct Sender {
    receiver: Receiver,
    secret: Option<SecretString>,
    teller: Teller,
    http: Http,
    mail: Option<Mail>,
}

impl Sender {
    /// A sender to this receiver, who has not connected yet.
    ///
    /// # Errors
    /// When the system's certificate store cannot be used.
    pub fn new(
        receiver: Receiver,
        secret: Option<SecretString>,
        teller: Teller,
        http: Http,
    ) -> Result<Self, SetUpError> {
        let mail = match &receiver.target {
            Target::Email(smtp) => Some(Mail::new((**smtp).clone()).map_err(SetUpError::Mail)?),
            _ => None,
        };
        Ok(Self {
            receiver,
            secret,
            teller,
            http,
            mail,
        })
    }

    /// To whom.
    #[must_use]
    pub fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// Sends a message, once; `id` is the same each time that it is tried.
    ///
    /// # Errors
    /// [`Failure`] says whether it may work later.
    pub async fn send(&self, batch: &Batch, id: &str) -> Result<(), Failure> {
        let second = jiff::Timestamp::now().as_second();
        match &self.receiver.target {
            Target::Webhook(url) => {
                let body = wire::webhook(batch, id, &self.teller);
                let secret = self.secret.as_ref();
                let headers = secret.map(|secret| wire::signature(secret, id, second, &body));
                let headers = headers.as_ref().map_or(&[][..], |headers| &headers[..]);
                self.http.post(url, headers, body).await
            }
            Target::Slack(url) => {
                self.http
                    .post(url, &[], wire::slack(batch, &self.teller))
                    .await
            }
            Target::Alertmanager { .. } => self.tell_again(&batch.notes).await,
            Target::Email(_) => match &self.mail {
                Some(mail) => mail.send(batch, id, &self.teller).await,
                None => Ok(()),
            },
        }
    }

    /// Tells what holds, to one who forgets it otherwise.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn tell_again(&self, notes: &[Note]) -> Result<(), Failure> {
        let Target::Alertmanager { url, labels } = &self.receiver.target else {
            return Ok(());
        };
        let second = jiff::Timestamp::now().as_second();
        let body = wire::alerts(notes, labels, &self.teller, second);
        self.http.post(url, &[], body).await
    }
}
