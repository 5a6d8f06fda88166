//! Requests to the service beside the measured ones: creating sets and importing codes.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use super::http::{Client, Head};
use super::{Result, scatter};

/// Interval between checks of an import.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Address of the service, and an API key of a tenant.
#[derive(Debug, Clone)]
pub struct Service {
    pub address: SocketAddr,
    pub key: String,
}

impl Service {
    /// Creates a tenant with a key that has all scopes.
    pub async fn open(address: SocketAddr, operator_token: &str) -> Result<Self> {
        let mut client = Client::connect(address).await?;
        let head = Head::post("/admin/v1/tenants", operator_token, "application/json");
        let answer = client.send(&head, br#"{"name":"A shop"}"#).await?;
        let tenant = answer.expect(201)?.text("id")?;
        let path = format!("/admin/v1/tenants/{tenant}/api-keys");
        let head = Head::post(&path, operator_token, "application/json");
        let body = br#"{"name":"bench","scopes":["*"]}"#;
        let answer = client.send(&head, body).await?;
        let key = answer.expect(201)?.text("key")?.to_owned();
        Ok(Self { address, key })
    }

    /// Creates a set; `fields` are the members of its JSON object.
    pub async fn create_set(&self, fields: &str) -> Result<String> {
        let mut client = Client::connect(self.address).await?;
        let head = Head::post("/v1/coupon-sets", &self.key, "application/json");
        let answer = client
            .send(&head, format!("{{{fields}}}").as_bytes())
            .await?;
        answer.expect(201)?.text("id").map(str::to_owned)
    }

    /// Creates sets that hold the same codes, and returns their ids.
    pub async fn create_sets(&self, count: u64, codes: u64) -> Result<Vec<String>> {
        let codes = csv(0..codes);
        let mut sets = Vec::new();
        for number in 0..count {
            let fields = format!(r#""name":"set {number}","type":"multiple""#);
            let set = self.create_set(&fields).await?;
            self.import(&set, codes.as_bytes()).await?;
            sets.push(set);
        }
        Ok(sets)
    }

    /// Imports a CSV file and waits until its codes can be assigned.
    pub async fn import(&self, set: &str, csv: &[u8]) -> Result<()> {
        self.import_as(set, "text/csv", csv).await
    }

    /// Imports a file of this type and waits until its codes can be assigned.
    pub async fn import_as(&self, set: &str, kind: &str, file: &[u8]) -> Result<()> {
        let mut client = Client::connect(self.address).await?;
        let head = Head::post(&format!("/v1/coupon-sets/{set}/imports"), &self.key, kind);
        let answer = client.send(&head, file).await?;
        let import = answer.expect(201)?.text("id")?;
        let head = Head::get(&format!("/v1/imports/{import}"), &self.key);
        loop {
            let answer = client.send(&head, b"").await?;
            match answer.expect(200)?.text("status")? {
                "finished" => return Ok(()),
                "queued" | "inProgress" => tokio::time::sleep(POLL_INTERVAL).await,
                status => return Err(format!("an import ended as {status}").into()),
            }
        }
    }
}

/// Length of the generated codes.
pub const CODE_LENGTH: usize = 12;

/// A file of distinct codes that look random. Files of disjoint ranges share no code.
pub fn csv(numbers: Range<u64>) -> String {
    // Without letters and digits that are easily confused.
    const DIGITS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut csv = String::from("code\n");
    for number in numbers {
        // 35 scattered bits and 25 counting bits, so that no two codes are equal.
        let mut bits = (scatter(number) << 25) | (number & 0x1ff_ffff);
        for _ in 0..CODE_LENGTH {
            bits = bits.rotate_left(5);
            csv.push(char::from(DIGITS[usize::try_from(bits >> 59).unwrap_or(0)]));
        }
        csv.push('\n');
    }
    csv
}
