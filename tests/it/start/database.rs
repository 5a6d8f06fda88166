//! Databases that the service cannot use: it ends at once, and says why.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

use crate::support::database::{TestDatabase, url};
use crate::support::program::{complaint, couponry, folder};
use crate::support::sql;
use crate::support::tls::certificates;

/// Starts a server that replies to the request for TLS as PostgreSQL does, and never gets beyond the handshake. Without a
/// configuration it has no TLS. Returns its port.
fn serve_handshakes(tls: Option<ServerConfig>) -> u16 {
    let tls = tls.map(Arc::new);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it listens").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 8];
            stream.read_exact(&mut request).expect("it asks for TLS");
            let Some(tls) = &tls else {
                stream.write_all(b"N").expect("it reads");
                continue;
            };
            stream.write_all(b"S").expect("it reads");
            let mut server = ServerConnection::new(Arc::clone(tls)).expect("a configuration");
            while server
                .complete_io(&mut stream)
                .is_ok_and(|(read, _)| read > 0)
            {}
        }
    });
    port
}

/// Runs the service with this URL, and returns the line with which it ends.
#[track_caller]
fn complaint_about(url: &str) -> String {
    let folder = folder();
    let mut command = couponry(folder.path());
    // Without the notices of the migrations.
    command.env("DATABASE_URL", url).env("COUPONRY_LOG", "warn");
    complaint(command)
}

#[test]
fn a_certificate_that_is_not_trusted_ends_the_start_at_once() {
    let (tls, authority) = certificates();
    let authority = authority.path().display();
    let port = serve_handshakes(Some(tls));
    let verified = "sslmode=verify-full";
    for (query, host, reason) in [
        (verified.to_owned(), "localhost", "UnknownIssuer"),
        (
            format!("{verified}&sslrootcert={authority}"),
            "127.0.0.1",
            "not valid for name",
        ),
    ] {
        let line = complaint_about(&format!("postgres://shop@{host}:{port}/shop?{query}"));
        assert!(line.contains(reason), "{line}");
        assert!(line.contains("sslrootcert"), "{line}");
    }
}

#[test]
fn a_server_without_tls_ends_the_start_at_once_if_the_url_requires_it() {
    let port = serve_handshakes(None);
    let line = complaint_about(&format!(
        "postgres://shop@localhost:{port}/shop?sslmode=require"
    ));
    assert!(line.contains("server does not support TLS"), "{line}");
}

#[tokio::test]
async fn an_unknown_database_ends_the_start_at_once() {
    let database = TestDatabase::create().await;
    let options = database.options.clone().database("no_such_database");
    let line = complaint_about(&url(&options));
    assert!(line.contains("no_such_database"), "{line}");
}

#[tokio::test]
async fn a_user_without_the_roles_ends_the_start_with_the_statement_that_grants_them() {
    let database = TestDatabase::create().await;
    let mut owner = database.owner.acquire().await.expect("a connection");
    let name = database.options.get_database().expect("a name").to_owned();
    // Roles belong to the cluster, where a failed run may have left it. The name needs quotes.
    let login = format!("login-of-{name}");
    let grants = format!(
        "drop role if exists \"{login}\";
         create role \"{login}\" login noinherit;
         grant select on _sqlx_migrations, applied_functions to \"{login}\";
         grant create on schema public to \"{login}\""
    );
    sql::run(&mut owner, grants).await.expect("the owner may");
    let line = complaint_about(&url(&database.options.clone().username(&login)));
    let statement = format!("grant couponry_app, couponry_system, couponry_lanes to \"{login}\";");
    assert!(line.contains(&statement), "{line}");
    assert!(line.contains("couponry_app;"), "{line}");

    let half = format!("grant couponry_app to \"{login}\"");
    sql::run(&mut owner, half).await.expect("the owner may");
    let line = complaint_about(&url(&database.options.clone().username(&login)));
    assert!(
        line.contains("cannot become the role couponry_system;"),
        "{line}"
    );
    let gone = format!("drop owned by \"{login}\"; drop role \"{login}\"");
    sql::run(&mut owner, gone).await.expect("the owner may");
}
