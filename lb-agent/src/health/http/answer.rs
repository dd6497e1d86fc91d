//! What an answer must be like, and whether it is.

use std::fmt;

use md5::{Digest as _, Md5};

use crate::config::{HttpRequest, StatusRange};

/// The longest body that is judged.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// As much of a body as a reason shows.
const SHOWN_BYTES: usize = 80;

/// The answer that is wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    status: Vec<StatusRange>,
    digest: Option<[u8; 16]>,
    pattern: Option<Pattern>,
    /// Whether the digest is of interest by itself.
    shows_digest: bool,
}

/// What an answer was like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body, where that was read.
    pub body: Option<BodyFound>,
}

/// What a body was like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyFound {
    /// Its MD5, in hexadecimal, where that was of interest.
    pub digest: Option<String>,
    /// Its length.
    pub bytes: usize,
}

/// A regular expression that is too large to be searched for.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PatternError(#[from] regex::Error);

/// A regular expression over bytes. Equal where its text is.
#[derive(Clone)]
struct Pattern(regex::bytes::Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0.as_str(), f)
    }
}

/// Why an answer is not the one that was wished for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Another status.
    #[error("HTTP {found} from {path}, expected {expected}")]
    Status {
        /// What was asked for.
        path: String,
        /// Its status.
        found: u16,
        /// The good ones.
        expected: String,
    },
    /// A body that is not looked at.
    #[error("the body of {path} is longer than {} KiB", MAX_BODY_BYTES / 1024)]
    TooLong {
        /// What was asked for.
        path: String,
    },
    /// Another body.
    #[error("the body of {path} has the MD5 {found}, expected {expected}")]
    Digest {
        /// What was asked for.
        path: String,
        /// Its digest, in hexadecimal.
        found: String,
        /// The good one.
        expected: String,
    },
    /// A body that does not match.
    #[error("the body of {path} does not match `{pattern}`: it begins with \"{start}\"")]
    NoMatch {
        /// What was asked for.
        path: String,
        /// The regular expression.
        pattern: String,
        /// The first bytes of what was found.
        start: String,
    },
}

impl Wanted {
    pub(super) fn new(request: &HttpRequest) -> Result<Self, PatternError> {
        let pattern = match &request.body_regex {
            Some(text) => Some(Pattern(regex::bytes::Regex::new(text)?)),
            None => None,
        };
        Ok(Self {
            status: request.status.clone(),
            digest: request.digest,
            pattern,
            shows_digest: false,
        })
    }

    /// Any answer, with the digest of its body.
    pub(super) fn digest() -> Self {
        Self {
            status: vec![StatusRange {
                first: 100,
                last: 599,
            }],
            digest: None,
            pattern: None,
            shows_digest: true,
        }
    }

    pub(super) fn status(&self, path: &str, found: u16) -> Result<(), AnswerError> {
        let is_good = |range: &StatusRange| (range.first..=range.last).contains(&found);
        if self.status.iter().any(is_good) {
            return Ok(());
        }
        let range = |range: &StatusRange| match range.first == range.last {
            true => range.first.to_string(),
            false => format!("{}-{}", range.first, range.last),
        };
        let expected: Vec<String> = self.status.iter().map(range).collect();
        Err(AnswerError::Status {
            path: path.to_owned(),
            found,
            expected: expected.join(", "),
        })
    }

    /// What judges the body of `path`; `None` where it may be anything.
    pub(super) fn body<'a>(&'a self, path: &'a str) -> Option<Body<'a>> {
        let matters = self.digest.is_some() || self.pattern.is_some() || self.shows_digest;
        matters.then(|| Body {
            wanted: self,
            path,
            read: Vec::new(),
        })
    }
}

/// A body as it comes in.
#[derive(Debug)]
pub(super) struct Body<'a> {
    wanted: &'a Wanted,
    path: &'a str,
    read: Vec<u8>,
}

impl Body<'_> {
    pub(super) fn add(&mut self, data: &[u8]) -> Result<(), AnswerError> {
        if self.read.len() + data.len() > MAX_BODY_BYTES {
            return Err(AnswerError::TooLong {
                path: self.path.to_owned(),
            });
        }
        self.read.extend_from_slice(data);
        Ok(())
    }

    /// The whole of it is there.
    pub(super) fn judge(self) -> Result<BodyFound, AnswerError> {
        let is_of_interest = self.wanted.digest.is_some() || self.wanted.shows_digest;
        let digest: Option<[u8; 16]> = is_of_interest.then(|| Md5::digest(&self.read).into());
        if let (Some(found), Some(expected)) = (digest, self.wanted.digest)
            && found != expected
        {
            return Err(AnswerError::Digest {
                path: self.path.to_owned(),
                found: hexadecimal(&found),
                expected: hexadecimal(&expected),
            });
        }
        if let Some(Pattern(pattern)) = &self.wanted.pattern
            && !pattern.is_match(&self.read)
        {
            let start = &self.read[..self.read.len().min(SHOWN_BYTES)];
            return Err(AnswerError::NoMatch {
                path: self.path.to_owned(),
                pattern: pattern.to_string(),
                start: start.escape_ascii().to_string(),
            });
        }
        Ok(BodyFound {
            digest: digest.map(|digest| hexadecimal(&digest)),
            bytes: self.read.len(),
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
