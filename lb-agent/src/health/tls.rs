//! TLS for checks: whom to name, what certificate to accept.
//!
//! Without verification, as keepalived has it, any certificate is good, also one that no library can read: what is
//! asked is whether the server serves. With it, the certificate must be issued by one whom this host trusts, be valid
//! today, and for the name that is asked for.
//!
//! Every check makes a whole handshake, as a new client would: no session is resumed.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::deadline::{Deadline, Late};
use super::net;

/// ALPN's name of HTTP/2, RFC 9113 §3.1.
const H2: &[u8] = b"h2";

/// The certificate authorities that this host trusts.
#[derive(Clone, Debug)]
pub struct Trust(Arc<RootCertStore>);

/// No certificate authority.
#[derive(Debug, thiserror::Error)]
#[error(
    "`verify` needs certificates that this host trusts, and there are none{}: install ca-certificates, or name a file \
     in SSL_CERT_FILE", in_brackets(.reason)
)]
pub struct TrustError {
    reason: Option<String>,
}

fn in_brackets(reason: &Option<String>) -> String {
    reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(" ({reason})"))
}

impl Trust {
    /// Those of the operating system: what `SSL_CERT_FILE` and `SSL_CERT_DIR` name, else those below `/etc/ssl`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of_this_host() -> Result<Self, TrustError> {
        let found = rustls_native_certs::load_native_certs();
        let reason = found.errors.first().map(ToString::to_string);
        Self::of(found.certs).ok_or(TrustError { reason })
    }

    /// These; `None` where none of them can be used.
    pub fn of(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Option<Self> {
        let mut store = RootCertStore::empty();
        let (added, _ignored) = store.add_parsable_certificates(certificates);
        (added > 0).then(|| Self(Arc::new(store)))
    }
}

/// What certificate is accepted.
#[derive(Clone, Debug)]
pub enum Verify {
    /// Any.
    Nothing,
    /// One that these have issued, for the name.
    By(Trust),
}

/// What is to be spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, which needs no negotiation: none is offered, so that servers that know none agree.
    Http1,
    /// HTTP/2, which does.
    Http2,
}

/// How TLS is spoken with a server.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    verify: Verify,
    /// `None`: the address checked, which is not sent.
    name: Option<ServerName<'static>>,
    protocol: Protocol,
}

/// A name that TLS cannot ask for.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no host name that TLS can ask for; name one in `sni`")]
pub struct NameError(String);

/// No TLS with the server.
#[derive(Debug, thiserror::Error)]
#[error("TLS with {to}{}: {reason}", asked(.name))]
pub struct Error {
    to: SocketAddr,
    name: Option<String>,
    reason: Reason,
}

fn asked(name: &Option<String>) -> String {
    name.as_ref()
        .map_or_else(String::new, |name| format!(" as {name}"))
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error(transparent)]
    Late(#[from] Late),
    #[error(transparent)]
    Network(net::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("the server did not agree to HTTP/2 (ALPN)")]
    NoHttp2,
    #[error("the certificate is issued by nobody whom this host trusts")]
    UnknownIssuer,
    #[error("the certificate is not accepted: {0}")]
    Certificate(CertificateError),
    #[error("the server ends it with the alert {0:?}")]
    Alert(AlertDescription),
    #[error("the answer is not TLS")]
    NotTls,
    #[error("{0}")]
    Other(rustls::Error),
}

impl Tls {
    /// `sni` is what the server is asked for; `host`, the Host header, stands in for it.
    ///
    /// # Errors
    /// Where the name cannot be sent.
    pub fn new(
        sni: Option<&str>,
        host: Option<&str>,
        verify: Verify,
        protocol: Protocol,
    ) -> Result<Self, NameError> {
        let name = match sni.or(host.map(without_port)) {
            Some(name) => Some(
                ServerName::try_from(name.to_owned()).map_err(|_| NameError(name.to_owned()))?,
            ),
            None => None,
        };
        Ok(Self {
            config: Arc::new(config(&verify, protocol)),
            verify,
            name,
            protocol,
        })
    }

    /// A handshake over a connection that is there.
    ///
    /// # Errors
    /// Where it does not come about, or gives another protocol than wished for.
    pub async fn handshake(
        &self,
        stream: TcpStream,
        to: SocketAddr,
        deadline: &Deadline,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => to.ip().into(),
        };
        let connecting = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream);
        let shaken = match deadline.limit("answer", connecting).await {
            Ok(Ok(stream)) => {
                deadline.note(|| self.spoken(&stream));
                self.agreed(stream)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(late) => Err(late.into()),
        };
        shaken.map_err(|reason| Error {
            to,
            name: self.name.as_ref().map(|name| name.to_str().into_owned()),
            reason,
        })
    }

    /// What was agreed on, in words.
    fn spoken(&self, stream: &TlsStream<TcpStream>) -> String {
        let connection = stream.get_ref().1;
        let version = connection.protocol_version();
        let version = version
            .and_then(|version| version.as_str())
            .unwrap_or("TLS");
        let certificate = match self.verify {
            Verify::Nothing => "not verified",
            Verify::By(_) => "verified",
        };
        let name = match &self.name {
            Some(name) => format!(" as {}", name.to_str()),
            None => String::new(),
        };
        format!(
            "{} spoken{name}, certificate {certificate}",
            version.replace("TLSv1_", "TLS 1.")
        )
    }

    fn agreed(&self, stream: TlsStream<TcpStream>) -> Result<TlsStream<TcpStream>, Reason> {
        let agreed = stream.get_ref().1.alpn_protocol();
        match self.protocol {
            Protocol::Http2 if agreed != Some(H2) => Err(Reason::NoHttp2),
            Protocol::Http1 | Protocol::Http2 => Ok(stream),
        }
    }
}

/// Equal where they speak alike.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        let same_trust = match (&self.verify, &other.verify) {
            (Verify::Nothing, Verify::Nothing) => true,
            (Verify::By(Trust(one)), Verify::By(Trust(other))) => {
                Arc::ptr_eq(one, other) || one.roots == other.roots
            }
            (Verify::Nothing, Verify::By(_)) | (Verify::By(_), Verify::Nothing) => false,
        };
        same_trust && self.name == other.name && self.protocol == other.protocol
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verifies = matches!(self.verify, Verify::By(_));
        f.debug_struct("Tls")
            .field("name", &self.name)
            .field("verifies", &verifies)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// A Host header's host: `www.example.com:8443`, `[2001:db8::1]:8443`.
fn without_port(host: &str) -> &str {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && !name.contains(':') => name,
        Some(_) | None => host,
    }
}

fn config(verify: &Verify, protocol: Protocol) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match verify {
        Verify::Nothing => Arc::new(AcceptAny(Arc::clone(&provider))),
        Verify::By(Trust(store)) => {
            WebPkiServerVerifier::builder_with_provider(Arc::clone(store), Arc::clone(&provider))
                .build()
                .expect("a store that is not empty, and no revocation list")
        }
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = match protocol {
        Protocol::Http1 => Vec::new(),
        Protocol::Http2 => vec![H2.to_vec()],
    };
    config
}

/// Takes any certificate, and any signature made with its key.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl From<std::io::Error> for Reason {
    /// rustls hands its own errors on as those of the stream.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            return Self::Closed;
        }
        match error.downcast::<rustls::Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::Network(error.into()),
        }
    }
}

impl From<rustls::Error> for Reason {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                Self::UnknownIssuer
            }
            rustls::Error::InvalidCertificate(error) => Self::Certificate(error),
            // What is offered is HTTP/2 alone, or nothing.
            rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Self::NoHttp2,
            rustls::Error::AlertReceived(alert) => Self::Alert(alert),
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            error => Self::Other(error),
        }
    }
}

impl Error {
    /// Whether this host alone is to blame.
    pub(super) fn is_ours(&self) -> bool {
        matches!(&self.reason, Reason::Network(error) if error.is_ours())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_header_is_asked_for_without_its_port() {
        for (host, name) in [
            ("www.example.com", "www.example.com"),
            ("www.example.com:8443", "www.example.com"),
            ("[2001:db8::1]:8443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("192.0.2.1:443", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }

    #[test]
    fn what_speaks_alike_is_equal() {
        let tls = |sni, host, protocol| {
            Tls::new(sni, host, Verify::Nothing, protocol).expect("a good name")
        };
        let one = tls(Some("a.example"), None, Protocol::Http1);
        assert_eq!(one, tls(Some("a.example"), Some("b"), Protocol::Http1));
        assert_eq!(one, tls(None, Some("a.example:8443"), Protocol::Http1));
        assert_ne!(one, tls(None, None, Protocol::Http1));
        assert_ne!(one, tls(Some("a.example"), None, Protocol::Http2));
    }

    #[test]
    fn a_name_that_cannot_be_sent_is_refused() {
        let error = Tls::new(Some("a..b"), None, Verify::Nothing, Protocol::Http1);
        let words = error.expect_err("a bad name").to_string();
        assert!(words.contains("`a..b` is no host name"), "{words}");
    }
}
