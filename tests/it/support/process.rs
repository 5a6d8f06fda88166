//! The `couponry` program as a process of its own, to be killed and measured, and a bare HTTP client for it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::database::TestDatabase;

/// A running service; it is killed when this is dropped.
pub struct Process {
    child: Child,
    address: SocketAddr,
    temp: tempfile::TempDir,
}

impl Process {
    /// Starts the program on a database and waits until it serves.
    pub fn start(database: &TestDatabase) -> Self {
        let socket = database.options.get_socket().expect("a unix socket");
        let url = format!(
            "postgres://postgres@localhost/{}?host={}",
            database.name(),
            socket.display()
        );
        let temp = tempfile::tempdir().expect("a temporary folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_couponry"))
            .env("DATABASE_URL", url)
            .env("COUPONRY_LISTEN", "127.0.0.1:0")
            .env("COUPONRY_LOG", "info")
            .env("TMPDIR", temp.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let address = log
            .by_ref()
            .map_while(Result::ok)
            .inspect(|line| eprintln!("{line}"))
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .find(|line| line["message"] == "serving")
            .expect("the program serves");
        let address = address["listen"]
            .as_str()
            .and_then(|text| text.parse().ok());
        // A full pipe would stop the program.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        Self {
            child,
            address: address.expect("an address"),
            temp,
        }
    }

    /// What `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    /// What `kill` does; waits until the program has ended by itself.
    pub fn terminate(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the process is ours");
        self.child.wait().expect("the process is ours")
    }

    /// The sizes of the files that it holds open and that have no name.
    pub fn unnamed_files(&self) -> Vec<u64> {
        let folder = PathBuf::from(format!("/proc/{}/fd", self.child.id()));
        let files = std::fs::read_dir(folder).expect("the process lives");
        files
            .filter_map(|file| {
                let file = file.ok()?.path();
                let name = std::fs::read_link(&file).ok()?;
                (name.starts_with(self.temp.path()) && name.to_str()?.ends_with(" (deleted)"))
                    .then(|| std::fs::metadata(&file).map_or(0, |file| file.len()))
            })
            .collect()
    }

    /// The files that have a name in its temporary folder.
    pub fn temporary_files(&self) -> usize {
        let files = std::fs::read_dir(self.temp.path()).expect("the folder is ours");
        files.count()
    }

    /// The most memory that it has held so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the process lives");
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"))
            .and_then(|text| text.trim().parse::<u64>().ok());
        kib.expect("Linux tells it") * 1024
    }

    /// Sends the head of a request; its body and its answer are the caller's.
    pub async fn open(&self, key: &str, request: &str, kind: &str, length: u64) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let head = format!(
            "{request} HTTP/1.1\r\nHost: couponry\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        stream
    }

    /// Sends a request with a body and reads the answer.
    pub async fn send(&self, key: &str, request: &str, kind: &str, body: &str) -> (u16, Value) {
        let mut stream = self.open(key, request, kind, body.len() as u64).await;
        stream.write_all(body.as_bytes()).await.expect("it reads");
        answer(stream).await
    }
}

/// Reads an answer that is JSON of a known length.
pub async fn answer(mut stream: TcpStream) -> (u16, Value) {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = serde_json::from_str(body).expect("JSON");
    (status.expect("a status"), body)
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
