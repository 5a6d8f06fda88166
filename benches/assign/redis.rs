//! Redis for comparison: `LPOP` of a list, with every write flushed as in the service. It records no contact,
//! deduplicates nothing and keeps no log. Skipped where `redis-server` and `redis-benchmark` are not installed.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Result;
use crate::support::load::Outcome;

/// A Redis server, stopped when this value is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Pops `codes` codes with `clients` clients. Returns `None` where Redis is not installed.
pub fn run(folder: &Path, clients: usize, codes: u64) -> Result<Option<Outcome>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    std::fs::create_dir_all(folder)?;
    let server = Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(server) = server else {
        return Ok(None);
    };
    let server = Server(server);
    let count = codes.to_string();
    // Without a server to connect to, the tool would wait indefinitely.
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            return Err("redis-server does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    benchmark(
        port,
        &["-n", &count, "-P", "100", "lpush", "codes", "ABCDEFGHJKLM"],
    )?;
    let clients = clients.to_string();
    let output = benchmark(port, &["-n", &count, "-c", &clients, "lpop", "codes"])?;
    drop(server);
    // A header line, then a line of figures: test, rps, average, minimum, p50, p95, p99, maximum; in milliseconds.
    let figures: Vec<f64> = output
        .lines()
        .last()
        .unwrap_or_default()
        .split(',')
        .filter_map(|figure| figure.trim_matches('"').parse().ok())
        .collect();
    let [rate, _, _, p50, _, p99, _] = figures[..] else {
        // A failure of the tool does not invalidate the other figures of the round.
        eprintln!("  redis is left out of this round; redis-benchmark printed: {output}");
        return Ok(None);
    };
    Ok(Some(Outcome {
        rate,
        p50: p50 / 1000.0,
        p99: p99 / 1000.0,
        ..Outcome::default()
    }))
}

/// Standard output of the tool; an error if the tool fails.
fn benchmark(port: u16, arguments: &[&str]) -> Result<String> {
    let output = Command::new("redis-benchmark")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "--csv"])
        .args(arguments)
        .output()?;
    Ok(String::from_utf8(output.stdout)?)
}
