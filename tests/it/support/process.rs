//! The service as a separate process that receives uploads. Its use of disk and memory is measured.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::database::TestDatabase;
use super::program::{Service, couponry, folder};

/// A running service, killed when this value is dropped.
pub struct Process {
    service: Service,
    folder: TempDir,
}

impl Process {
    /// Starts the program on a database and waits until it is ready.
    pub fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, &[])
    }

    /// With further environment settings.
    pub fn start_with(database: &TestDatabase, settings: &[(&str, &str)]) -> Self {
        let folder = folder();
        let uploads = folder.path().join("uploads");
        fs::create_dir(&uploads).expect("the folder is ours");
        let mut command = couponry(&folder.path().join("none"));
        command
            .env("DATABASE_URL", database.url())
            .env("TMPDIR", uploads)
            .envs(settings.iter().copied());
        let service = Service::start(folder.path(), &mut command);
        Self { service, folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.service.address
    }

    /// Kills the process like `kill -9`.
    pub fn kill(self) {
        self.service.kill();
    }

    /// Stops the process like `kill`, and waits until it has ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.service.interrupt(Signal::TERM);
        self.service.ended()
    }

    fn uploads(&self) -> PathBuf {
        self.folder.path().join("uploads")
    }

    /// Sizes of its open files without a name.
    pub fn unnamed_files(&self) -> Vec<u64> {
        let files = fs::read_dir(format!("/proc/{}/fd", self.service.pid()));
        files
            .expect("the process lives")
            .filter_map(|file| {
                let file = file.ok()?.path();
                let name = fs::read_link(&file).ok()?;
                (name.starts_with(self.uploads()) && name.to_str()?.ends_with(" (deleted)"))
                    .then(|| fs::metadata(&file).map_or(0, |file| file.len()))
            })
            .collect()
    }

    /// Number of named files in its temporary folder.
    pub fn temporary_files(&self) -> usize {
        fs::read_dir(self.uploads())
            .expect("the folder is ours")
            .count()
    }

    /// Its peak memory so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.service.pid()));
        let kib = status
            .expect("the process lives")
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"))
            .and_then(|text| text.trim().parse::<u64>().ok());
        kib.expect("Linux reports it") * 1024
    }

    /// Sends the head of a request; the caller sends the body and reads the response.
    pub async fn open(&self, key: &str, request: &str, kind: &str, length: u64) -> TcpStream {
        let mut stream = TcpStream::connect(self.service.address)
            .await
            .expect("it listens");
        let head = format!(
            "{request} HTTP/1.1\r\nHost: couponry\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        stream
    }

    /// Sends a request with a body and reads the response.
    pub async fn send(&self, key: &str, request: &str, kind: &str, body: &str) -> (u16, Value) {
        let mut stream = self.open(key, request, kind, body.len() as u64).await;
        stream.write_all(body.as_bytes()).await.expect("it reads");
        answer(stream).await
    }
}

/// Reads a JSON response of a known length.
pub async fn answer(mut stream: TcpStream) -> (u16, Value) {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = serde_json::from_str(body).expect("JSON");
    (status.expect("a status"), body)
}
