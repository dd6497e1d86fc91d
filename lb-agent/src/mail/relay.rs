//! The mail relay: one connection for each mail, by [lettre].

use std::error::Error;
use std::path::PathBuf;
use std::time::SystemTime;
use std::{fs, io};

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::letter::Letter;
use crate::config::{Mail, MailAuth, MailTls};

/// Mail cannot be sent as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The password.
    #[error("read the mail relay's password from {path}")]
    Password {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A sender or recipient.
    #[error("`{address}` is no mail address: {source}")]
    Address {
        /// As it is written.
        address: String,
        /// What is wrong with it.
        #[source]
        source: lettre::address::AddressError,
    },
}

/// A mail that was not delivered, and why, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// The relay will never take it.
    Refused(String),
    /// It may do so later.
    Later(String),
}

/// How the relay is spoken to.
#[derive(Debug)]
pub struct Relay {
    mail: Mail,
    router_id: String,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Relay {
    /// The relay of a configuration.
    ///
    /// # Errors
    /// Where the password cannot be read. It is read again for each mail.
    pub fn new(mail: &Mail, router_id: &str) -> Result<Self, MailError> {
        if let Some(auth) = &mail.auth {
            password(auth)?;
        }
        Ok(Self {
            from: mailbox(&mail.from)?,
            to: mail
                .to
                .iter()
                .map(|to| mailbox(to))
                .collect::<Result<_, _>>()?,
            mail: mail.clone(),
            router_id: router_id.to_owned(),
        })
    }

    /// Sends a mail, within the configured time as a whole.
    ///
    /// # Errors
    /// Where the relay does not take it.
    pub async fn deliver(&self, letter: &Letter) -> Result<(), Undelivered> {
        let message = self.message(letter)?;
        let transport = self.transport().await?;
        let timeout = self.mail.timeout;
        match tokio::time::timeout(timeout, transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.is_permanent() => {
                Err(Undelivered::Refused(self.in_words(&error)))
            }
            Ok(Err(error)) => Err(Undelivered::Later(self.in_words(&error))),
            Err(_) => {
                let timeout = humantime::format_duration(timeout);
                Err(Undelivered::Later(format!(
                    "{}:{}: not done within {timeout}",
                    self.mail.host, self.mail.port
                )))
            }
        }
    }

    fn message(&self, letter: &Letter) -> Result<Message, Undelivered> {
        let unix_ns = SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| since.as_nanos());
        let id = format!(
            "<{unix_ns}.{}@{}>",
            std::process::id(),
            self.from.email.domain()
        );
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(letter.subject(&self.router_id))
            .message_id(Some(id))
            .date_now()
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(to.clone());
        }
        // What it cannot make a mail of now it cannot later.
        message
            .body(letter.body(&self.router_id))
            .map_err(|error| Undelivered::Refused(in_words(&error)))
    }

    /// A new one each time: certificates and passwords change while the agent runs.
    async fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, Undelivered> {
        let Mail {
            host, port, tls, ..
        } = &self.mail;
        let parameters = async {
            let host = host.clone();
            // Reads the host's certificates.
            tokio::task::spawn_blocking(move || TlsParameters::new_rustls(host))
                .await
                .map_err(|error| Undelivered::Later(in_words(&error)))?
                .map_err(|error| Undelivered::Later(self.in_words(&error)))
        };
        let tls = match tls {
            MailTls::None => Tls::None,
            MailTls::Starttls => Tls::Required(parameters.await?),
            MailTls::Tls => Tls::Wrapper(parameters.await?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(*port)
            .tls(tls)
            .timeout(Some(self.mail.timeout));
        if is_host_name(&self.router_id) {
            builder = builder.hello_name(ClientId::Domain(self.router_id.clone()));
        }
        if let Some(auth) = &self.mail.auth {
            let password = password(auth).map_err(|error| Undelivered::Later(in_words(&error)))?;
            builder = builder.credentials(Credentials::new(auth.user.clone(), password));
        }
        Ok(builder.build())
    }

    fn in_words(&self, error: &dyn Error) -> String {
        format!("{}:{}: {}", self.mail.host, self.mail.port, in_words(error))
    }
}

/// RFC 3834 §5: nobody's holiday notice is to come back.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_text: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

fn mailbox(address: &str) -> Result<Mailbox, MailError> {
    address.parse().map_err(|source| MailError::Address {
        address: address.to_owned(),
        source,
    })
}

/// The first line of its file.
fn password(auth: &MailAuth) -> Result<String, MailError> {
    let text = fs::read_to_string(&auth.password_file).map_err(|source| MailError::Password {
        path: auth.password_file.clone(),
        source,
    })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// What may follow HELO, RFC 5321 §4.1.2 `Domain`.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// An error with its causes, each once.
fn in_words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
