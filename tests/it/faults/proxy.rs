//! A proxy between a replica and PostgreSQL that breaks at critical points: in the middle of a reply, between the rows
//! of a reply and its end, or before a request has arrived completely.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::oneshot;

use super::wire::{MessageStart, Messages};

/// PostgreSQL sends a long reply in pieces of this size; the first leaves it before the commit.
const PIECE: usize = 8192;

/// Point at which a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// After this number of bytes of a reply with rows.
    Reply(usize),
    /// After the last row, before the message with the number of rows.
    AfterRows,
    /// After that message, before those that report the end of the transaction.
    BeforeReady,
    /// In the middle of the rows of a long reply, and the backend is killed before it may have committed.
    KillAfterRows,
    /// After this number of bytes of a request that executes something.
    Request(usize),
    /// After a request to execute, before the message that commits it.
    BeforeSync,
}

/// A requested cut, and the channel that reports it.
type ArmedCut = (Cut, oneshot::Sender<()>);

#[derive(Debug, Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    armed: Arc<Mutex<Vec<ArmedCut>>>,
}

impl Proxy {
    /// Starts forwarding connections to the server's socket.
    pub async fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let proxy = Self {
            address: listener.local_addr().expect("it listens"),
            armed: Arc::default(),
        };
        let shared = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (shared, socket) = (shared.clone(), socket.clone());
                tokio::spawn(async move {
                    // The end of one direction ends both: that is the cut.
                    let server = UnixStream::connect(socket).await?;
                    client.set_nodelay(true)?;
                    let (client_reads, client_writes) = client.into_split();
                    let (server_reads, server_writes) = server.into_split();
                    tokio::select! {
                        ended = shared.requests(client_reads, server_writes) => ended,
                        ended = shared.replies(server_reads, client_writes) => ended,
                    }
                });
            }
        });
        proxy
    }

    /// Cuts the next connection that reaches this point. The returned channel reports the cut.
    pub fn arm(&self, cut: Cut) -> oneshot::Receiver<()> {
        let (done, receiver) = oneshot::channel();
        self.armed.lock().unwrap().push((cut, done));
        receiver
    }

    /// Takes the first requested cut that may happen here.
    fn take(&self, here: impl Fn(Cut) -> bool) -> Option<Cut> {
        let mut armed = self.armed.lock().unwrap();
        // A requester that has given up waits at another proxy.
        armed.retain(|(_, done)| !done.is_closed());
        let place = armed.iter().position(|(cut, _)| here(*cut))?;
        let (cut, done) = armed.remove(place);
        done.send(()).ok()?;
        Some(cut)
    }

    async fn requests(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut messages = Messages::of_client();
        let mut executes = false;
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            let mut end = None;
            for MessageStart { kind, at } in messages.follow(&bytes[..count]) {
                match kind {
                    b'E' => executes = true,
                    b'S' if executes => {
                        executes = false;
                        let here = |cut| matches!(cut, Cut::BeforeSync | Cut::Request(_));
                        end = end.or_else(|| match self.take(here)? {
                            Cut::Request(length) => Some(length.min(at)),
                            _ => Some(at),
                        });
                    }
                    _ => {}
                }
            }
            to.write_all(&bytes[..end.unwrap_or(count)]).await?;
            if end.is_some() {
                return Ok(());
            }
        }
    }

    async fn replies(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut messages = Messages::of_server();
        let mut backend = None;
        let mut last = 0;
        let mut rows = false;
        let mut bytes = [0; PIECE];
        loop {
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            let mut end = None;
            for MessageStart { kind, at } in messages.follow(&bytes[..count]) {
                let cut = match (last, kind) {
                    (_, b'K') => {
                        backend = backend.or_else(|| process(&bytes[at..count]));
                        None
                    }
                    (b'D', b'C') => self.take(|cut| cut == Cut::AfterRows),
                    (b'C', _) if rows => self.take(|cut| cut == Cut::BeforeReady),
                    (b'2', b'D') => self.take(|cut| matches!(cut, Cut::Reply(_))),
                    _ => None,
                };
                end = end.or(match cut {
                    Some(Cut::Reply(length)) => Some((at + length).min(count)),
                    Some(_) => Some(at),
                    None => None,
                });
                rows = kind == b'D' || (rows && kind == b'C');
                last = kind;
            }
            if last == b'D'
                && end.is_none()
                && let Some(pid) = backend
                && self.take(|cut| cut == Cut::KillAfterRows).is_some()
            {
                // Another fault may have killed it already.
                let _ = kill_process(pid, Signal::KILL);
                end = Some(count);
            }
            to.write_all(&bytes[..end.unwrap_or(count)]).await?;
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// Process id of the backend, in a message that carries it.
fn process(message: &[u8]) -> Option<Pid> {
    let number = message.get(5..9)?.try_into().ok()?;
    Pid::from_raw(i32::from_be_bytes(number))
}
