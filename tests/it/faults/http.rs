//! A caller with one connection to each replica. Every failure means an unknown outcome.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::random::Random;

/// Maximum time without a successful request, under any fault.
pub const RECOVERY: Duration = Duration::from_mins(1);

/// Addresses of the replicas; `None` for a replica that is down.
#[derive(Debug, Clone)]
pub struct Addresses(Arc<[RwLock<Option<SocketAddr>>]>);

impl Addresses {
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| RwLock::default()).collect())
    }

    pub fn set(&self, replica: usize, address: Option<SocketAddr>) {
        *self.0[replica].write().unwrap() = address;
    }

    fn of(&self, replica: usize) -> Option<SocketAddr> {
        *self.0[replica].read().unwrap()
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// A complete response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

#[derive(Debug)]
pub struct Caller {
    addresses: Addresses,
    bearer: Arc<str>,
    connections: Vec<Option<(SocketAddr, TcpStream)>>,
}

/// A request without its bearer token.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub key: Option<&'a str>,
    pub body: &'a str,
}

impl<'a> Request<'a> {
    pub fn get(path: &'a str) -> Self {
        Self {
            method: "GET",
            path,
            key: None,
            body: "",
        }
    }

    pub fn post(path: &'a str, body: &'a str) -> Self {
        Self {
            method: "POST",
            body,
            ..Self::get(path)
        }
    }
}

impl Caller {
    pub fn new(addresses: &Addresses, bearer: &Arc<str>) -> Self {
        Self {
            addresses: addresses.clone(),
            bearer: Arc::clone(bearer),
            connections: (0..addresses.count()).map(|_| None).collect(),
        }
    }

    /// Sends a request. Without a complete response in time it returns `None` and drops the connection, while the
    /// service may continue.
    pub async fn send(
        &mut self,
        replica: usize,
        request: Request<'_>,
        time_limit: Duration,
    ) -> Option<Reply> {
        let address = self.addresses.of(replica)?;
        let kept = self.connections[replica].take();
        let kept = kept.filter(|(to, _)| *to == address);
        let exchange = async {
            let mut stream = match kept {
                Some((_, stream)) => stream,
                None => TcpStream::connect(address).await?,
            };
            stream.set_nodelay(true)?;
            let reply = exchange(&mut stream, &self.bearer, request).await?;
            io::Result::Ok((stream, reply))
        };
        let (stream, reply) = timeout(time_limit, exchange).await.ok()?.ok()?;
        self.connections[replica] = Some((address, stream));
        Some(reply)
    }

    /// Sends a request to one replica after the other until one of them responds with another status than 429 and 503.
    pub async fn send_with_retries(&mut self, random: &mut Random, request: Request<'_>) -> Reply {
        let deadline = Instant::now() + RECOVERY;
        loop {
            assert!(Instant::now() < deadline, "no answer to {request:?}");
            let replica = random.index(self.addresses.count());
            let reply = self.send(replica, request, RECOVERY / 2).await;
            match reply {
                Some(reply) if !matches!(reply.status, 408 | 429 | 503) => return reply,
                _ => tokio::time::sleep(random.millis((20, 200))).await,
            }
        }
    }

    /// Reads a resource; the response must be 200.
    pub async fn read(&mut self, random: &mut Random, path: &str) -> Value {
        let reply = self.send_with_retries(random, Request::get(path)).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.body
    }
}

async fn exchange(stream: &mut TcpStream, bearer: &str, request: Request<'_>) -> io::Result<Reply> {
    let Request {
        method,
        path,
        key,
        body,
    } = request;
    let key = key.map_or(String::new(), |key| format!("Idempotency-Key: {key}\r\n"));
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: couponry\r\nAuthorization: Bearer {bearer}\r\n{key}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await?;
    let broken = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut input = Vec::with_capacity(1024);
    let (start, length) = loop {
        if let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = std::str::from_utf8(&input[..end]).map_err(io::Error::other)?;
            break (end + 4, content_length(head));
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err(broken());
        }
    };
    let content = loop {
        let content = match length {
            Some(length) => input.get(start..start + length).map(<[u8]>::to_vec),
            None => chunked_content(&input[start..]),
        };
        if let Some(content) = content {
            break content;
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err(broken());
        }
    };
    let status = std::str::from_utf8(&input[9..12]).map_err(io::Error::other)?;
    Ok(Reply {
        status: status.parse().map_err(io::Error::other)?,
        body: serde_json::from_slice(&content).unwrap_or(Value::Null),
    })
}

/// Returns the content of a body in chunks, if it is complete.
fn chunked_content(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = chunks.windows(2).position(|bytes| bytes == b"\r\n")?;
        let size = std::str::from_utf8(&chunks[..end]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        let chunk = chunks.get(end + 2..end + 2 + size)?;
        // The line break after the chunk.
        chunks = chunks.get(end + 2 + size + 2..)?;
        if size == 0 {
            return Some(content);
        }
        content.extend_from_slice(chunk);
    }
}

fn content_length(head: &str) -> Option<usize> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, length) = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    length.trim().parse().ok()
}
