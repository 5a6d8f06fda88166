//! The service as its user starts it, and `psql` connected to its PostgreSQL.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::http::{Client, Head};
use super::service::Service;
use super::{Result, float};

/// Interval between checks of a start.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running service, stopped when this value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    service: Service,
    cluster: PathBuf,
    /// The service prints more after its key, and would end if nothing could read it.
    output: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts the service in an empty folder with these settings, and waits until it is ready.
    pub fn start(data: &Path, settings: &[&str]) -> Result<Self> {
        let mut child = command(settings)
            .args(["--listen", "127.0.0.1:0", "--log", "warn", "--data-dir"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("the service has no output")?;
        let mut process = Self {
            child,
            service: Service {
                address: ([127, 0, 0, 1], 0).into(),
                key: String::new(),
            },
            cluster: data.join("pg/data"),
            output: None,
        };
        let mut output = BufReader::new(output);
        let mut line = String::new();
        while output.read_line(&mut line)? > 0 {
            // export COUPONRY_URL=http://… COUPONRY_KEY=cpk_…
            let value = |name| {
                let mut words = line.split_whitespace();
                words.find_map(|word| word.strip_prefix(name))
            };
            if let (Some(url), Some(key)) = (value("COUPONRY_URL=http://"), value("COUPONRY_KEY="))
            {
                process.service = Service {
                    address: url.parse()?,
                    key: key.to_owned(),
                };
                process.output = Some(output);
                return Ok(process);
            }
            line.clear();
        }
        Err("the service ended before it printed its address and key".into())
    }

    /// Starts a replica on the database of this process, and waits until it is ready.
    pub async fn replica(&self, settings: &[&str]) -> Result<Self> {
        let address = free_address()?;
        let socket = self.postmaster_line(4)?;
        let child = command(settings)
            .args(["--listen", &address.to_string(), "--database-url"])
            .arg(format!(
                "postgres://postgres@localhost/postgres?host={socket}"
            ))
            .spawn()?;
        let mut process = Self {
            child,
            service: Service {
                address,
                key: self.service.key.clone(),
            },
            cluster: self.cluster.clone(),
            output: None,
        };
        while !is_ready(address).await {
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("the replica ended: {status}").into());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(process)
    }

    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Processor time that the process used so far, without that of PostgreSQL.
    pub fn cpu(&self) -> Duration {
        super::cpu::of_process(self.child.id())
    }

    /// The process id of the PostgreSQL in use.
    pub fn postmaster(&self) -> Result<u32> {
        Ok(self.postmaster_line(0)?.parse()?)
    }

    fn postmaster_line(&self, number: usize) -> Result<String> {
        let state = std::fs::read_to_string(self.cluster.join("postmaster.pid"))?;
        let line = state.lines().nth(number);
        Ok(line.ok_or("postmaster.pid is incomplete")?.to_owned())
    }

    /// Peak memory of the process so far, in MiB.
    pub fn peak_memory(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
            .ok_or("the system does not report the peak memory of a process")?
            .parse()?;
        Ok(float(kib) / 1024.0)
    }

    /// The `psql` of the running server's installation, with its connection parameters.
    pub fn psql(&self) -> Result<Psql> {
        let options = std::fs::read_to_string(self.cluster.join("postmaster.opts"))?;
        let server = Path::new(options.split_whitespace().next().unwrap_or_default());
        let beside = server.with_file_name("psql");
        Ok(Psql {
            program: if beside.exists() {
                beside
            } else {
                "psql".into()
            },
            socket: self.postmaster_line(4)?,
        })
    }
}

fn command(settings: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_couponry"));
    command
        .args(settings)
        .env_remove("DATABASE_URL")
        .env_remove("COUPONRY_REQUIRE_DATABASE_URL")
        .stdin(Stdio::null());
    command
}

/// An address with a port that nothing listens on.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut client) = Client::connect(address).await else {
        return false;
    };
    let answer = client.send(&Head::get("/readyz", "none"), b"").await;
    answer.is_ok_and(|answer| answer.status == 200)
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM, so that its PostgreSQL stops before the folder is removed.
        let asked = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .is_some_and(|pid| {
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok()
            });
        if !asked {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub struct Psql {
    program: PathBuf,
    socket: String,
}

impl Psql {
    fn command(&self, statement: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-U", "postgres", "-d", "postgres", "-p", "5432", "-h"])
            .arg(&self.socket)
            .args(["-c", statement]);
        command
    }

    pub fn run(&self, statement: &str) -> Result<String> {
        let output = self.command(statement).output()?;
        if output.status.success() {
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into())
        }
    }

    /// Copies the codes of a file. Returns the seconds it took.
    pub fn copy(&self, file: &Path) -> Result<f64> {
        let file = file.display().to_string().replace('\'', "''");
        let start = Instant::now();
        self.run(&format!(
            "\\copy copied (code) from '{file}' with (format csv, header)"
        ))?;
        Ok(start.elapsed().as_secs_f64())
    }
}
