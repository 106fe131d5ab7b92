//! Sends mail. Of a server's answers only the codes are told, never the words.
//!
//! A server that sends without end is cut off, because the client library reads lines of any length.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, error};
use rustls::pki_types::ServerName;
use rustls_platform_verifier::ConfigVerifierExt as _;
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::outbox::Batch;
use super::receiver::{Smtp, Tls};
use super::send::{Failure, MAIL_TIMEOUT, TIMEOUT};
use super::text::{plain, remark, said, when};
use super::wire::{Teller, mark};
use crate::clean;

/// Bytes that are read of all answers to one mail, those of TLS included.
const ANSWERS: usize = 256 * 1024;

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The system's certificate store cannot be used.
    #[error("the system's certificates cannot be used")]
    Verifier(#[source] rustls::Error),
    /// The same, as the mail library tells it.
    #[error("the system's certificates cannot be used for STARTTLS")]
    StartTls(#[source] smtp::Error),
}

/// Why a mail was not delivered.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the line")]
    Line(#[source] io::Error),
    #[error("no connection within {} s", TIMEOUT.as_secs())]
    Connect,
    #[error("the server's name cannot stand in a certificate")]
    Name,
    #[error("the conversation")]
    Smtp(#[source] smtp::Error),
}

/// Sends mail over one server.
#[derive(Clone)]
pub struct Mail {
    smtp: Smtp,
    secured: Secured,
}

#[derive(Clone)]
enum Secured {
    AtOnce(Arc<rustls::ClientConfig>),
    Later(TlsParameters),
    Never,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").finish_non_exhaustive()
    }
}

/// Whether a text is a mail address.
#[must_use]
pub fn is_address(text: &str) -> bool {
    text.parse::<Address>().is_ok()
}

impl Mail {
    /// A sender who has not connected yet.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub fn new(smtp: Smtp) -> Result<Self, SetUpError> {
        let secured = match smtp.tls {
            Tls::Implicit => {
                let config = rustls::ClientConfig::with_platform_verifier();
                Secured::AtOnce(Arc::new(config.map_err(SetUpError::Verifier)?))
            }
            Tls::StartTls => {
                let parameters = TlsParameters::builder(smtp.host.clone()).build_rustls();
                Secured::Later(parameters.map_err(SetUpError::StartTls)?)
            }
            Tls::None => Secured::Never,
        };
        Ok(Self { smtp, secured })
    }

    /// Sends a message, once.
    ///
    /// # Errors
    /// [`Failure`] says whether it may work later.
    pub async fn send(&self, batch: &Batch, id: &str, teller: &Teller) -> Result<(), Failure> {
        let message = self.message(batch, id, teller);
        let message = message.map_err(|error| Failure::never(error.to_string()))?;
        let mut offered = false;
        match timeout(MAIL_TIMEOUT, self.deliver(&message, &mut offered)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) if offered => Err(Failure::unanswered(MAIL_TIMEOUT)),
            Err(_) => Err(Failure::timeout(MAIL_TIMEOUT)),
        }
    }

    fn message(&self, batch: &Batch, id: &str, teller: &Teller) -> Result<Message, error::Error> {
        let mailbox = |address: &str| {
            let address = address.parse::<Address>();
            address.map(|address| Mailbox::new(None, address))
        };
        let from = mailbox(&self.smtp.from).map_err(|_| error::Error::MissingFrom)?;
        let domain = from.email.domain().to_owned();
        let subject = format!("[mutt-remediation] {}", plain(&teller.headline(batch)));
        let auto = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mut builder = Message::builder()
            .from(from)
            .subject(subject)
            .date_now()
            .message_id(Some(format!("<{id}@{domain}>")))
            .raw_header(HeaderValue::new(auto, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN);
        for address in &self.smtp.to {
            builder = builder.to(mailbox(address).map_err(|_| error::Error::MissingTo)?);
        }
        builder.body(body(batch, teller))
    }

    /// Delivers a mail; `offered` tells one who gave up waiting how far that had come.
    async fn deliver(&self, message: &Message, offered: &mut bool) -> Result<(), Error> {
        let hello = ClientId::default();
        let address = (self.smtp.host.as_str(), self.smtp.port);
        let line = timeout(TIMEOUT, TcpStream::connect(address)).await;
        let line = line.map_err(|_| Error::Connect)?.map_err(Error::Line)?;
        let peer = line.peer_addr().map_err(Error::Line)?;
        let line: Box<dyn AsyncTokioStream> = match &self.secured {
            Secured::AtOnce(config) => {
                let name = ServerName::try_from(self.smtp.host.clone()).map_err(|_| Error::Name)?;
                let connector = TlsConnector::from(config.clone());
                let line = connector.connect(name, line).await.map_err(Error::Line)?;
                Box::new(Bounded::new(line, peer))
            }
            Secured::Later(_) => Box::new(Bounded {
                before_tls: true,
                ..Bounded::new(line, peer)
            }),
            Secured::Never => Box::new(Bounded::new(line, peer)),
        };
        let connected = AsyncSmtpConnection::connect_with_transport(line, &hello).await;
        let mut connection = connected.map_err(Error::Smtp)?;
        if let Secured::Later(parameters) = &self.secured {
            let secured = connection.starttls(parameters.clone(), &hello).await;
            secured.map_err(Error::Smtp)?;
        }
        if let Some((user, password)) = &self.smtp.login {
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let welcome = connection.auth(&mechanisms, &credentials).await;
            welcome.map_err(Error::Smtp)?;
        }
        *offered = true;
        let taken = connection
            .send(message.envelope(), &message.formatted())
            .await;
        taken.map_err(Error::Smtp)?;
        // It has been taken, whatever the server says now.
        let _ = connection.quit().await;
        Ok(())
    }
}

/// The text of a mail.
fn body(batch: &Batch, teller: &Teller) -> String {
    let mut text = String::new();
    if teller.test {
        text.push_str("This is a test; nothing of it has happened.\n\n");
    }
    for note in teller.shown(batch) {
        let said = said(note);
        text.push_str(&format!("{}  {}\n", mark(note), said.title));
        for line in &said.lines {
            text.push_str(&format!("{line}\n"));
        }
        text.push_str(&format!("{}\n", when(note)));
        if let Some(link) = teller.link(note) {
            text.push_str(&format!("{link}\n"));
        }
        text.push('\n');
    }
    if let Some(remark) = remark(batch) {
        text.push_str(&format!("{remark}\n\n"));
    }
    text.push_str(&format!(
        "-- \nmutt-remediation, {}\n",
        plain(&teller.instance)
    ));
    text
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::Smtp(error) => match error.status() {
            Some(code) if error.is_permanent() => Failure::never(format!("answered {code}")),
            Some(code) => Failure::later(format!("answered {code}")),
            // What it offers is not enough.
            None if error.is_client() => Failure::never(innermost(error)),
            // Its words would be in it.
            None if error.is_response() => {
                Failure::later("answered something that is not SMTP".into())
            }
            None => Failure::later(innermost(error)),
        },
        Error::Name => Failure::never(error.to_string()),
        Error::Connect => Failure::later(error.to_string()),
        Error::Line(_) => Failure::later(innermost(error)),
    }
}

/// The innermost cause, which names what went wrong.
fn innermost(error: &dyn std::error::Error) -> String {
    plain(&clean::innermost(error))
}

/// What TLS begins with; no command of SMTP does.
const HANDSHAKE: u8 = 0x16;

/// A line of which no more than so many bytes are read.
///
/// Whoever is on the way can add answers behind the one to STARTTLS.
/// The mail library would keep them, and take them for answers to what it says over TLS.
/// So it is given one byte at a time until TLS begins: it never holds more than it has asked for, and
/// what follows comes to TLS, which takes it for none of its own.
#[derive(Debug)]
struct Bounded<S> {
    line: S,
    peer: SocketAddr,
    left: usize,
    before_tls: bool,
}

impl<S> Bounded<S> {
    fn new(line: S, peer: SocketAddr) -> Self {
        let left = ANSWERS;
        let before_tls = false;
        Self {
            line,
            peer,
            left,
            before_tls,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = if self.before_tls && buffer.remaining() > 0 {
            let mut byte = [0];
            let mut one = ReadBuf::new(&mut byte);
            let read = Pin::new(&mut self.line).poll_read(context, &mut one);
            buffer.put_slice(one.filled());
            read
        } else {
            Pin::new(&mut self.line).poll_read(context, buffer)
        };
        let count = buffer.filled().len() - before;
        match self.left.checked_sub(count) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other("the server answers without end"))),
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.first() == Some(&HANDSHAKE) {
            self.before_tls = false;
        }
        Pin::new(&mut self.line).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(context)
    }
}

impl<S> AsyncTokioStream for Bounded<S>
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug,
{
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::receiver::{Receiver, Target};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::sample::samples;
    use super::*;

    fn mail() -> Mail {
        let address =
            "smtp://127.0.0.1:2525/?from=mutt@example.org&to=ops@example.org&to=x@example.org";
        let receiver = Receiver::parse(address).expect("an address");
        let Target::Email(smtp) = receiver.target else {
            panic!("{receiver}");
        };
        Mail::new(*smtp).expect("no TLS")
    }

    #[test]
    fn no_name_comes_into_the_head_of_a_mail_as_anything_but_text() {
        let mut note = samples(0).into_iter().next_back().expect("a note");
        let evil = "x\r\nBcc: evil@example.org\r\n\r\nbody";
        note.facts.insert("queue", evil.into());
        note.facts.insert("by", evil.into());
        let batch = Batch {
            number: 1,
            notes: vec![note],
            held_back: 0,
            missed: 0,
        };
        let teller = Teller {
            instance: evil.into(),
            console: None,
            test: false,
        };
        let message = mail().message(&batch, "id", &teller).expect("a mail");
        let text = String::from_utf8(message.formatted()).expect("ASCII");
        let (head, _) = text.split_once("\r\n\r\n").expect("head and body");
        let names: Vec<&str> = head
            .split("\r\n")
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name)
            .collect();
        let expected = [
            "From",
            "Subject",
            "Date",
            "Message-ID",
            "Auto-Submitted",
            "Content-Type",
            "To",
            "Content-Transfer-Encoding",
        ];
        assert_eq!(names, expected, "{head}");
        assert_eq!(message.envelope().to().len(), 2);
    }

    /// A server up to where it has heard `until`, and says nothing any more.
    async fn falls_silent(listener: TcpListener, until: &[u8]) -> TcpStream {
        let (mut line, _) = listener.accept().await.expect("a line");
        line.write_all(b"220 hello\r\n").await.expect("written");
        let (mut said, mut letter) = (vec![], false);
        loop {
            line.read_buf(&mut said).await.expect("read");
            if said.ends_with(until) {
                return line;
            }
            // Whatever is sent may arrive in pieces: a line is answered once it is whole, a letter never.
            if letter || !said.ends_with(b"\r\n") {
                continue;
            }
            letter = said.ends_with(b"DATA\r\n");
            let answer = if letter { "354 go\r\n" } else { "250 ok\r\n" };
            line.write_all(answer.as_bytes()).await.expect("written");
        }
    }

    #[tokio::test]
    async fn a_server_that_falls_silent_has_the_mail_only_if_it_was_offered() {
        let batch = Batch {
            number: 1,
            notes: samples(0).split_off(13),
            held_back: 0,
            missed: 0,
        };
        let teller = Teller {
            instance: "remediation-0".into(),
            console: None,
            test: false,
        };
        for (until, expected) in [(&b"\r\n.\r\n"[..], true), (&b"\r\n"[..], false)] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
            let mut mail = mail();
            mail.smtp.port = listener.local_addr().expect("an address").port();
            let message = mail.message(&batch, "id", &teller).expect("a mail");
            let mut offered = false;
            tokio::select! {
                done = mail.deliver(&message, &mut offered) => panic!("{done:?}"),
                _line = falls_silent(listener, until) => {}
            }
            assert_eq!(offered, expected);
        }
    }

    #[test]
    fn a_mail_says_all_notes_and_where_to_look() {
        let batch = Batch {
            number: 1,
            notes: samples(1_790_000_000),
            held_back: 1,
            missed: 0,
        };
        let teller = Teller {
            instance: "remediation-0".into(),
            console: Some("https://mutt.example".into()),
            test: true,
        };
        let text = body(&batch, &teller);
        assert!(text.starts_with("This is a test"));
        assert_eq!(text.matches("https://mutt.example/console/").count(), 14);
        assert!(text.contains("held back") && text.ends_with("mutt-remediation, remediation-0\n"));
    }
}
