//! The service as its user starts it, and `psql` connected to its PostgreSQL.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::service::Service;
use crate::support::{Result, float};

/// A running service, stopped when this value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    service: Service,
    cluster: PathBuf,
}

impl Process {
    /// Starts the service in an empty folder and waits until it is ready.
    pub fn start(data: &Path) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_couponry"))
            .args(["--listen", "127.0.0.1:0", "--log", "warn", "--data-dir"])
            .arg(data)
            .env_remove("DATABASE_URL")
            .env_remove("COUPONRY_REQUIRE_DATABASE_URL")
            .stdin(Stdio::null())
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
        };
        for line in BufReader::new(output).lines() {
            // export COUPONRY_URL=http://… COUPONRY_KEY=cpk_…
            let line = line?;
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
                return Ok(process);
            }
        }
        Err("the service ended before it printed its address and key".into())
    }

    pub fn service(&self) -> &Service {
        &self.service
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
        let state = std::fs::read_to_string(self.cluster.join("postmaster.pid"))?;
        let socket = state.lines().nth(4).ok_or("no socket in postmaster.pid")?;
        Ok(Psql {
            program: if beside.exists() {
                beside
            } else {
                "psql".into()
            },
            socket: socket.to_owned(),
        })
    }
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
