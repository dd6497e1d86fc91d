//! HTTP/1.1, for one request.

use std::future::poll_fn;
use std::pin::Pin;

use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{AGENT, Answer, Error, InWords, MAX_HEAD_BYTES, Pieces, Request, alongside};
use crate::health::deadline::Deadline;
use crate::health::net;

/// A request over a connection that is there.
pub(super) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: &Request,
    host: String,
    deadline: &Deadline,
) -> Result<Answer, Error> {
    let message = hyper::Request::get(&request.path)
        .header(HOST, &host)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*")
        .body(String::new())
        .map_err(|source| request.cannot_be_written(host, source))?;
    let handshake = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES as usize)
        .handshake(TokioIo::new(stream));
    let (mut sender, connection) = request.within(deadline, "answer", handshake).await?;
    alongside(connection, async {
        let sent = sender.send_request(message);
        let response = request.within(deadline, "answer", sent).await?;
        let status = response.status().as_u16();
        request.judge(status, response.into_body(), deadline).await
    })
    .await
}

impl Pieces for Incoming {
    type Error = hyper::Error;

    async fn next(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        loop {
            match poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        return Ok(Some(data));
                    }
                }
                None => return Ok(None),
            }
        }
    }
}

impl InWords for hyper::Error {
    fn in_words(&self) -> String {
        if self.is_parse() {
            return format!("the answer cannot be read as HTTP: {self}");
        }
        if self.is_incomplete_message() {
            return "the connection was closed before the answer was complete".to_owned();
        }
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                return net::in_words(error);
            }
            cause = error.source();
        }
        self.to_string()
    }
}
