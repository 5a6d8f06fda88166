//! The program as a separate process, and the folders and clusters of such processes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use embedded_postgres::{Options, PostgresServer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::database::{embedded_options, kept_folder};

/// Timeout of every wait.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until the closure returns a value.
#[track_caller]
pub fn until<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A folder that any user may enter, removed when the value is dropped.
pub fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.permissions(fs::Permissions::from_mode(0o755));
    builder
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("the folder is ours")
}

/// A cluster that is made once and kept for later runs, because `initdb` takes seconds and unpacking does not.
static CLUSTER: LazyLock<PathBuf> = LazyLock::new(|| {
    let kept = kept_folder().join("cluster.tar");
    if !kept.exists() {
        let made = folder();
        embedded_postgres::start(&embedded_options(made.path().to_owned(), false))
            .expect("PostgreSQL starts")
            .stop();
        let packed = made.path().join("cluster.tar");
        tar(
            made.path(),
            &["-cf".as_ref(), packed.as_os_str(), "data".as_ref()],
        );
        fs::rename(packed, &kept).expect("the folders are ours");
    }
    kept
});

fn tar(dir: &Path, arguments: &[&std::ffi::OsStr]) {
    let tar = Command::new("tar")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .status();
    assert!(tar.expect("tar is installed").success());
}

/// Unpacks a fresh cluster into the folder of an embedded server.
pub fn put_cluster(dir: &Path) {
    fs::create_dir_all(dir).expect("the folder is ours");
    tar(dir, &["-xpf".as_ref(), CLUSTER.as_os_str()]);
}

/// A folder for the program with an existing cluster.
pub fn folder_with_cluster() -> TempDir {
    let folder = folder();
    put_cluster(&folder.path().join("pg"));
    folder
}

/// Starts an embedded server in this process, after an earlier one in the folder has ended.
pub fn start_postgres(dir: &Path, durable: bool) -> PostgresServer {
    let options = Options {
        wait: DEADLINE,
        ..embedded_options(dir.to_owned(), durable)
    };
    embedded_postgres::start(&options).expect("PostgreSQL starts")
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process has a number");
    kill_process(pid, signal).expect("the process is there and ours");
}

/// True if the process is alive; false for a zombie.
pub fn runs(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

/// Direct children of the process.
pub fn children(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task"));
    let lists = tasks.into_iter().flatten().flatten().map(|task| {
        let list = task.path().join("children");
        fs::read_to_string(list).unwrap_or_default()
    });
    let lists: Vec<String> = lists.collect();
    let pids = lists.iter().flat_map(|list| list.split_whitespace());
    pids.map(|pid| pid.parse().expect("a number")).collect()
}

/// Process id of the server in this folder once it accepts connections, from its own lock file.
pub fn ready_pid(dir: &Path) -> Option<u32> {
    let file = fs::read_to_string(dir.join("data/postmaster.pid")).ok()?;
    let mut lines = file.lines().map(str::trim);
    let pid = lines.next()?.parse().ok()?;
    (lines.nth(6) == Some("ready")).then_some(pid)
}

/// True if no server and no backend of one is left in this folder.
pub fn lock_is_free(dir: &Path) -> bool {
    File::open(dir.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok())
}

/// The environment of the programs that the tests start: none of the caller's settings.
#[expect(
    clippy::disallowed_methods,
    reason = "PATH and the like, for the programs that it runs"
)]
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in ["PATH", "HOME", "TMPDIR", "COUPONRY_PG_BIN_DIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// The program with its data in this folder, on a free port.
pub fn couponry(dir: &Path) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_couponry"));
    settings(&mut command, dir);
    command
}

/// The folders of programs, with those of servers.
pub fn search_path() -> std::ffi::OsString {
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH, for programs of the system"
    )]
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/usr/local/sbin");
    path
}

/// A program of PostgreSQL's clients or of its server.
pub fn postgres_program(name: &str) -> PathBuf {
    let bin = command(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/scripts/prerequisites"
    ))
    .arg("bin-dir")
    .env("PATH", search_path())
    .output()
    .expect("bash is installed");
    let bin = String::from_utf8(bin.stdout).expect("text");
    // The folder on PATH may hold links to the server's programs alone.
    let postgres = fs::canonicalize(Path::new(bin.trim()).join("postgres")).expect("it is there");
    postgres.with_file_name(name)
}

pub fn settings(command: &mut Command, dir: &Path) {
    command
        .env("COUPONRY_DATA_DIR", dir)
        .env("COUPONRY_LISTEN", "127.0.0.1:0");
}

/// Runs a program that must fail, and returns its line on standard error.
#[track_caller]
pub fn complaint(mut command: Command) -> String {
    let folder = folder();
    let mut service = Service::spawn(folder.path(), &mut command);
    let status = service.ended();
    assert!(!status.success(), "it works");
    assert_eq!(service.greeting(), "");
    let line = service.log();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

/// A running program, killed when the value is dropped.
pub struct Service {
    child: Child,
    dir: PathBuf,
    pub address: SocketAddr,
}

impl Service {
    /// Starts the program and waits until it is ready. Its output goes to files in the folder.
    pub fn start(dir: &Path, command: &mut Command) -> Self {
        let mut service = Self::spawn(dir, command);
        let address = until("the service is ready", || {
            if let Some(status) = service.child.try_wait().expect("it is our child") {
                panic!("{status}: {}", service.log());
            }
            serving_at(&service.log())
        });
        service.address = address;
        service
    }

    /// Starts the program.
    pub fn spawn(dir: &Path, command: &mut Command) -> Self {
        let file = |name| File::create(dir.join(name)).expect("the folder is ours");
        let child = command
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the program is built");
        Self {
            child,
            dir: dir.to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    /// Reads the address, for a service that was only spawned.
    pub fn find(&mut self) {
        self.address = until("the service is ready", || serving_at(&self.log()));
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output.
    pub fn greeting(&self) -> String {
        fs::read_to_string(self.dir.join("stdout")).expect("it was made")
    }

    /// Its standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("stderr")).expect("it was made")
    }

    /// The line of the greeting that begins with these words.
    #[track_caller]
    pub fn greeted(&self, start: &str) -> String {
        let greeting = self.greeting();
        let line = greeting
            .lines()
            .map(str::trim)
            .find(|l| l.starts_with(start));
        line.unwrap_or_else(|| panic!("no line `{start}` in {greeting}"))
            .to_owned()
    }

    /// The key of the demo tenant, on a first start.
    #[track_caller]
    pub fn demo_key(&self) -> String {
        let line = self.greeted("API key of the demo tenant, shown only once: ");
        line.rsplit(' ').next().expect("a word").to_owned()
    }

    /// Sends a signal to the process and waits until it has ended.
    pub fn stop(mut self, with: Signal) -> ExitStatus {
        self.interrupt(with);
        self.ended()
    }

    pub fn interrupt(&self, with: Signal) {
        signal(self.pid(), with);
    }

    pub fn ended(&mut self) -> ExitStatus {
        until("the process ends", || {
            self.child.try_wait().expect("it is our child")
        })
    }

    /// Kills the process with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was killed");
    }

    /// A client of the listener for metrics.
    #[track_caller]
    pub fn metrics(&self) -> Client {
        let address = listen_of(&self.log(), "serving the metrics");
        Client {
            address: address.expect("it has such a listener"),
            bearer: String::new(),
        }
    }

    /// A client with a key or a token.
    pub fn client(&self, bearer: &str) -> Client {
        Client::at(self.address, bearer)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let running = matches!(self.child.try_wait(), Ok(None));
        let started = if running {
            children(self.pid())
        } else {
            Vec::new()
        };
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its server would go on writing to a folder that is to be removed.
        let deadline = Instant::now() + DEADLINE;
        while started.iter().any(|pid| runs(*pid)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn serving_at(log: &str) -> Option<SocketAddr> {
    listen_of(log, "serving")
}

/// The address of the first line with this message.
fn listen_of(log: &str, message: &str) -> Option<SocketAddr> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut serving = lines.filter(|line| line["message"] == message);
    serving.next()?["listen"].as_str()?.parse().ok()
}

/// Sends requests over the network, each on a new connection.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    bearer: String,
}

/// A response over the network.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// The status line and the headers, in lower case.
    pub head: String,
    pub text: String,
    /// Null if the body is not JSON.
    pub body: Value,
}

impl Reply {
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    #[track_caller]
    pub fn str(&self, name: &str) -> &str {
        self.body[name]
            .as_str()
            .unwrap_or_else(|| panic!("no string `{name}` in {}", self.text))
    }
}

impl Client {
    /// A client with a key or a token, at an address that may be that of a proxy.
    pub fn at(address: SocketAddr, bearer: &str) -> Self {
        Self {
            address,
            bearer: bearer.to_owned(),
        }
    }

    pub fn bearer(&self) -> &str {
        &self.bearer
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").expect("an answer")
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[], &body.to_string())
            .expect("an answer")
    }

    /// Creates a tenant as the operator, and returns a client with a key of it.
    pub fn new_shop(&self) -> Self {
        let tenant = self
            .post("/admin/v1/tenants", &serde_json::json!({"name": "Shop"}))
            .expect(201);
        let keys = format!("/admin/v1/tenants/{}/api-keys", tenant.str("id"));
        let key = serde_json::json!({"name": "all", "scopes": ["*"]});
        let key = self.post(&keys, &key).expect(201);
        Self {
            address: self.address,
            bearer: key.str("key").to_owned(),
        }
    }

    /// Creates a set and returns its path.
    pub fn new_set(&self, set: &Value) -> String {
        let set = self.post("/v1/coupon-sets", set).expect(201);
        format!("/v1/coupon-sets/{}", set.str("id"))
    }

    /// Imports codes and waits until they are available.
    pub fn fill(&self, set: &str, codes: &[String]) {
        let imports = format!("{set}/imports");
        let import = self.post(&imports, &serde_json::json!({"codes": codes}));
        let import = format!("/v1/imports/{}", import.expect(201).str("id"));
        until("the import is finished", || {
            (self.get(&import).str("status") == "finished").then_some(())
        });
    }

    /// Requests a code.
    pub fn assign(&self, set: &str, contact: &str, key: Option<&str>) -> io::Result<Reply> {
        let key = key.map(|key| ("Idempotency-Key", key));
        let body = serde_json::json!({"contactId": contact}).to_string();
        self.send("POST", &format!("{set}/assignments"), key.as_slice(), &body)
    }

    /// Writes a request with only a part of its body.
    pub fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: usize,
    ) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n"
        );
        // Without a token the client may use a session.
        if !self.bearer.is_empty() {
            head = head + "Authorization: Bearer " + &self.bearer + "\r\n";
        }
        for (name, value) in headers {
            head = head + name + ": " + value + "\r\n";
        }
        if !headers.iter().any(|(name, _)| *name == "Content-Type") {
            head += "Content-Type: application/json\r\n";
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        Ok(stream)
    }

    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Reply> {
        let mut stream = self.begin(method, path, headers, body.len())?;
        stream.write_all(body.as_bytes())?;
        receive(stream)
    }
}

/// Reads a complete response; an incomplete one is an error.
pub fn receive(mut stream: TcpStream) -> io::Result<Reply> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let broken = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (head, text) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let head = head.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    if length.is_some_and(|length| length.parse() != Ok(text.len())) {
        return Err(broken());
    }
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Reply {
        status: status.ok_or_else(broken)?,
        text: text.to_owned(),
        body: serde_json::from_str(text).unwrap_or(Value::Null),
        head,
    })
}
