//! HTTP/2, for one request.

use h2::client;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, USER_AGENT};
use hyper::http::uri::{PathAndQuery, Scheme, Uri};
use hyper::http::{self, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{AGENT, Answer, Error, InWords, MAX_HEAD_BYTES, Pieces, Request, alongside};
use crate::health::deadline::Deadline;
use crate::health::net;

/// As much of a body as may be on its way.
const WINDOW_BYTES: u32 = 256 * 1024;

/// A request over a connection that has agreed to HTTP/2.
pub(super) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &Request,
    host: String,
    deadline: &Deadline,
) -> Result<Answer, Error> {
    let message =
        message(request, &host).map_err(|source| request.cannot_be_written(host, source))?;
    let mut builder = client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(WINDOW_BYTES)
        .max_header_list_size(MAX_HEAD_BYTES);
    let shaking = builder.handshake::<_, Bytes>(stream);
    let (sender, connection) = request.within(deadline, "answer", shaking).await?;
    alongside(connection, async {
        let mut sender = request.within(deadline, "answer", sender.ready()).await?;
        let (response, _nothing_to_send) = sender
            .send_request(message, true)
            .map_err(|error| request.no_answer(&error))?;
        let response = request.within(deadline, "answer", response).await?;
        let status = response.status().as_u16();
        request
            .judge(status, Body(response.into_body()), deadline)
            .await
    })
    .await
}

fn message(request: &Request, host: &str) -> Result<http::Request<()>, http::Error> {
    let uri = Uri::builder()
        .scheme(Scheme::HTTPS)
        .authority(host)
        .path_and_query(PathAndQuery::try_from(request.path.as_str())?)
        .build()?;
    http::Request::get(uri)
        .version(Version::HTTP_2)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*")
        .body(())
}

struct Body(h2::RecvStream);

impl Pieces for Body {
    type Error = h2::Error;

    async fn next(&mut self) -> Result<Option<Bytes>, h2::Error> {
        let Some(data) = self.0.data().await else {
            return Ok(None);
        };
        let data = data?;
        self.0.flow_control().release_capacity(data.len())?;
        Ok(Some(data))
    }
}

impl InWords for h2::Error {
    fn in_words(&self) -> String {
        match self.get_io() {
            Some(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                "the connection was closed before the answer was complete".to_owned()
            }
            Some(error) => net::in_words(error),
            None if self.is_remote() => format!("the server breaks it off: {self}"),
            None => format!("the answer cannot be read as HTTP/2: {self}"),
        }
    }
}
