//! Outgoing HTTP requests of the service. They use TLS, and never connect to an address that is not public unless the
//! operator allows it.
//!
//! The resolver checks the addresses that are then connected to. So DNS rebinding, a name that resolves differently the
//! second time, cannot bypass the check. Redirects are not followed here: the caller must check each target first.

mod hosts;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use rustls::{ClientConfig, RootCertStore};

pub use hosts::Hosts;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most characters of a URL that a caller may name.
const MAX_URL_CHARS: usize = 2_000;

/// Certificate authorities that are trusted in addition to the public ones.
#[derive(Debug, Clone, Default)]
pub struct Authorities(Vec<TrustAnchor<'static>>);

/// Errors of reading a file of certificates.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    #[error("the certificate file cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error(
        "the certificate file contains no valid certificate; certificates must be in PEM format"
    )]
    Pem,
}

impl Authorities {
    /// Reads a file of certificates in PEM format.
    pub fn read(path: &Path) -> Result<Self, AuthoritiesError> {
        let text = std::fs::read(path)?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|_| AuthoritiesError::Pem)?;
            roots.add(certificate).map_err(|_| AuthoritiesError::Pem)?;
        }
        if roots.is_empty() {
            return Err(AuthoritiesError::Pem);
        }
        Ok(Self(roots.roots))
    }
}

/// Client for requests to other servers. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Outbound {
    client: Client,
    private_allowed: bool,
}

/// Error for an address that is not part of the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its address is not public")]
pub(crate) struct NotPublic;

impl Outbound {
    /// `private_allowed` permits addresses that are not public; `plain_allowed` permits requests without TLS.
    pub(crate) fn new(
        authorities: &Authorities,
        private_allowed: bool,
        plain_allowed: bool,
    ) -> Self {
        let client = builder(authorities)
            .dns_resolver(Arc::new(PublicResolver { private_allowed }))
            .redirect(redirect::Policy::none())
            .https_only(!plain_allowed)
            .build()
            .expect("the settings are right");
        Self {
            client,
            private_allowed,
        }
    }

    /// Returns the HTTP client for a request to the URL. A host that is an address is checked here, because the resolver
    /// sees only names.
    pub(crate) fn client(&self, url: &Url) -> Result<&Client, NotPublic> {
        let address = url
            .host_str()
            .and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        match address {
            Some(address) if !self.private_allowed && !is_public(address) => Err(NotPublic),
            _ => Ok(&self.client),
        }
    }
}

/// Prepares an HTTP client that trusts the public certificate authorities and the given ones. It uses no proxy.
pub(crate) fn builder(authorities: &Authorities) -> reqwest::ClientBuilder {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    roots.extend(authorities.0.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("couponry/", env!("CARGO_PKG_VERSION")))
}

/// Rules for the text of URLs of one purpose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UrlRules {
    /// Allows `http` as well as `https`.
    pub http_allowed: bool,
    /// Rejects blanks and line breaks, which the parser removes: the text itself is stored, and would not be a URL.
    pub verbatim: bool,
    /// A valid URL for the error message.
    pub example: &'static str,
}

impl UrlRules {
    /// Parses and checks a URL. The error is a sentence for the caller of the API.
    pub(crate) fn check(self, text: &str) -> Result<Url, String> {
        if text.len() > MAX_URL_CHARS {
            return Err(format!(
                "A URL can have at most {MAX_URL_CHARS} characters."
            ));
        }
        let url = Url::parse(text)
            .ok()
            .filter(|_| !self.verbatim || text.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or_else(|| format!("This must be a URL such as {}.", self.example))?;
        if url.scheme() != "https" && !(self.http_allowed && url.scheme() == "http") {
            return Err("Only https URLs are supported.".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("A URL with a user or a password is not supported.".to_owned());
        }
        Ok(url)
    }
}

/// Resolves names by the system's resolver, and drops addresses that are not allowed.
struct PublicResolver {
    private_allowed: bool,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let private_allowed = self.private_allowed;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await?
                .filter(|address| private_allowed || is_public(address.ip()))
                .collect();
            if found.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Returns true for an address of the public internet: not multicast, and in no block of IANA's registries of
/// special-purpose addresses.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        // This network, private use, loopback, multicast, reserved, broadcast.
        (0 | 10 | 127 | 224.., _, _)
            // Carrier-grade NAT, benchmarks.
            | (100, 64..=127, _)
            | (198, 18 | 19, _)
            // Link-local, private use.
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            // Protocols, documentation, the old relay of 6to4.
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // An embedded IPv4 address (mapped, NAT64 or 6to4) is checked as IPv4.
    let segments = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        // Teredo, benchmarks and other protocols; documentation, twice.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // 2000::/3 is the only block of global unicast addresses.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        let public = |text: &str| is_public(text.parse().unwrap());
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "193.0.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(public(address), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a00:1",
            "2002:7f00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
        ] {
            assert!(!public(address), "{address}");
        }
    }

    #[test]
    fn urls_are_checked_by_their_text() {
        let rules = UrlRules {
            http_allowed: false,
            verbatim: false,
            example: "https://example.com/",
        };
        let no_url = "This must be a URL such as https://example.com/.";
        let no_https = "Only https URLs are supported.";
        let credentials = "A URL with a user or a password is not supported.";
        let check = |rules: UrlRules, text: &str| rules.check(text).map(String::from);
        let too_long = format!("https://example.com/{}", "a".repeat(MAX_URL_CHARS));
        for (text, fault) in [
            ("example.com", no_url),
            ("http://example.com/", no_https),
            ("ftp://example.com/", no_https),
            ("https://user@example.com/", credentials),
            ("https://:secret@example.com/", credentials),
            (&*too_long, "A URL can have at most 2000 characters."),
        ] {
            assert_eq!(check(rules, text), Err(fault.to_owned()), "{text}");
        }
        let url = Ok("https://example.com/".to_owned());
        assert_eq!(check(rules, " https://example.com/\n"), url);
        let verbatim = UrlRules {
            verbatim: true,
            ..rules
        };
        assert_eq!(check(verbatim, "https://example.com/"), url);
        assert_eq!(
            check(verbatim, " https://example.com/\n"),
            Err(no_url.to_owned())
        );
        let plain = UrlRules {
            http_allowed: true,
            ..rules
        };
        assert!(plain.check("http://example.com/").is_ok());
        assert!(plain.check("ftp://example.com/").is_err());
    }

    #[test]
    fn a_url_with_a_private_address_gets_no_client_unless_allowed() {
        let loopback = |text: &str, private_allowed| {
            let url = Url::parse(text).unwrap();
            Outbound::new(&Authorities::default(), private_allowed, false)
                .client(&url)
                .is_ok()
        };
        for url in [
            "https://127.0.0.1/codes.csv",
            // Browsers and curl read these as the same address.
            "https://2130706433/codes.csv",
            "https://0x7f.1/codes.csv",
            "https://[::1]/codes.csv",
            "https://[::ffff:7f00:1]/codes.csv",
        ] {
            assert!(!loopback(url, false), "{url}");
            assert!(loopback(url, true), "{url}");
        }
        assert!(loopback("https://1.1.1.1/codes.csv", false));
    }
}
