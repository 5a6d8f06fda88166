//! The `Host` header, over the network.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::database::TestDatabase;
use crate::support::program::{Service, couponry, folder};

/// Sends the head of a request, and returns the status and the body of the response.
fn send(service: &Service, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(service.address).expect("it listens");
    let head = format!("{head}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}

#[tokio::test]
async fn a_request_has_exactly_one_host() {
    let folder = folder();
    let database = TestDatabase::create().await;
    let mut command = couponry(folder.path());
    command.env("DATABASE_URL", database.url());
    let service = Service::start(folder.path(), &mut command);
    for head in [
        "GET /healthz HTTP/1.1\r\nHost: localhost",
        "GET /healthz HTTP/1.1\r\nHost:",
        "GET http://localhost/healthz HTTP/1.1\r\nHost: localhost",
        "GET /healthz HTTP/1.0",
        "GET /healthz HTTP/1.0\r\nHost: localhost",
    ] {
        assert_eq!(send(&service, head), (200, "ok\n".to_owned()), "{head}");
    }
    for path in ["/healthz", "/v1/coupon-sets", "/v1/nothing"] {
        for rest in [
            "HTTP/1.1\r\nAccept: */*",
            "HTTP/1.1\r\nHost: localhost\r\nHost: localhost",
            "HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nhost: example.com",
            "HTTP/1.0\r\nHost: localhost\r\nHost: example.com",
        ] {
            let head = format!("GET {path} {rest}");
            let (status, body) = send(&service, &head);
            assert_eq!(status, 400, "{head}");
            let problem: Value = serde_json::from_str(&body).expect("a problem");
            assert_eq!(problem["code"], "malformed-request", "{head}");
            assert!(body.contains("`Host`"), "{body}");
        }
    }
}
