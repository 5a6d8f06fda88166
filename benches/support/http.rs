//! An HTTP client for one keep-alive connection. It shares the processors with the service that it measures. So it
//! writes a request in one call and parses only the status and the length of the response.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Result;

/// The part that all requests of one kind share.
#[derive(Debug, Clone)]
pub struct Head(Vec<u8>);

impl Head {
    pub fn get(path: &str, key: &str) -> Self {
        Self(
            format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n")
                .into_bytes(),
        )
    }

    pub fn post(path: &str, key: &str, content_type: &str) -> Self {
        Self(
            format!(
                "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\
                 content-type: {content_type}\r\n"
            )
            .into_bytes(),
        )
    }
}

#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    output: Vec<u8>,
    input: Vec<u8>,
}

/// A complete response.
#[derive(Debug)]
pub struct Response<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl Response<'_> {
    /// The value of a text field at any depth, provided that nothing in it is escaped.
    pub fn text(&self, field: &str) -> Result<&str> {
        let body = std::str::from_utf8(self.body)?;
        find_text(body, field)
            .map(|(value, _)| value)
            .ok_or_else(|| format!("no `{field}` in {body}").into())
    }

    pub fn expect(&self, status: u16) -> Result<&Self> {
        if self.status == status {
            Ok(self)
        } else {
            let body = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
            Err(format!("{status} was expected, {} came: {body}", self.status).into())
        }
    }
}

/// The next value of a text field, and the rest of the text.
pub fn find_text<'a>(json: &'a str, field: &str) -> Option<(&'a str, &'a str)> {
    let mut rest = json;
    loop {
        rest = &rest[rest.find(field)? + field.len()..];
        if let Some(value) = rest.strip_prefix("\":\"") {
            return value.split_once('"');
        }
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            output: Vec::with_capacity(1024),
            input: Vec::with_capacity(16 * 1024),
        })
    }

    /// Sends a request and waits for the complete response.
    pub async fn send(&mut self, head: &Head, body: &[u8]) -> Result<Response<'_>> {
        self.output.clear();
        self.output.extend_from_slice(&head.0);
        if body.is_empty() {
            self.output.extend_from_slice(b"\r\n");
        } else {
            let length = body.len();
            self.output
                .extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
            self.output.extend_from_slice(body);
        }
        self.stream.write_all(&self.output).await?;

        self.input.clear();
        let (start, length) = loop {
            self.fill().await?;
            if let Some(end) = self.input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break (end + 4, content_length(&self.input[..end])?);
            }
        };
        if let Some(length) = length {
            while self.input.len() < start + length {
                self.fill().await?;
            }
        } else {
            self.join_chunks(start).await?;
        }
        let status = std::str::from_utf8(&self.input[9..12])?.parse()?;
        Ok(Response {
            status,
            body: &self.input[start..],
        })
    }

    /// Receives a body in chunks, and replaces it by its content.
    async fn join_chunks(&mut self, start: usize) -> Result<()> {
        let (mut at, mut content) = (start, Vec::new());
        loop {
            let line = self.input[at..].windows(2).position(|b| b == b"\r\n");
            if let Some(end) = line {
                let size = std::str::from_utf8(&self.input[at..at + end])?;
                let size = usize::from_str_radix(size, 16)?;
                let chunk = at + end + 2;
                while self.input.len() < chunk + size + 2 {
                    self.fill().await?;
                }
                content.extend_from_slice(&self.input[chunk..chunk + size]);
                at = chunk + size + 2;
                if size == 0 {
                    break;
                }
            } else {
                self.fill().await?;
            }
        }
        self.input.truncate(start);
        self.input.append(&mut content);
        Ok(())
    }

    async fn fill(&mut self) -> Result<()> {
        self.input.reserve(4096);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err("the service closed a connection".into()),
            _ => Ok(()),
        }
    }
}

/// Returns the announced length of a body; `None` if it comes in chunks.
fn content_length(head: &[u8]) -> Result<Option<usize>> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    Ok(length
        .map(|(_, length)| length.trim().parse())
        .transpose()?)
}
