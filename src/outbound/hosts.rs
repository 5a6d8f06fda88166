//! Hosts that files may be fetched from, as configured by the operator.

use reqwest::Url;

/// Hosts that files may be fetched from. An empty list allows none.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Vec<Host>);

impl std::str::FromStr for Hosts {
    type Err = InvalidHost;

    /// Parses a comma-separated list.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let hosts = text
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty());
        hosts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    /// In lower case, as in a parsed URL.
    name: String,
    /// `name` is the end of each matching host rather than the whole of it.
    is_suffix: bool,
}

/// Error for a text that is not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host must be a name such as files.example.com, *.example.com for all names below it, or * for all hosts"
)]
pub struct InvalidHost;

impl std::str::FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if text == "*" {
            return Ok(Self {
                name: String::new(),
                is_suffix: true,
            });
        }
        let (name, is_suffix) = match text.strip_prefix("*.") {
            Some(name) => (format!(".{name}"), true),
            None => (text.to_owned(), false),
        };
        // A text that a URL would not keep as its host, such as a host with a port, is a mistake of the operator.
        let host = name.trim_start_matches('.');
        let url = Url::parse(&format!("https://{host}/")).map_err(|_| InvalidHost)?;
        if host.contains('*') || url.host_str() != Some(host.to_lowercase().as_str()) {
            return Err(InvalidHost);
        }
        Ok(Self {
            name: name.to_lowercase(),
            is_suffix,
        })
    }
}

impl Hosts {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if files may be fetched from `host`, which is in lower case, as in a parsed URL.
    pub(crate) fn allow(&self, host: &str) -> bool {
        self.0.iter().any(|allowed| allowed.matches(host))
    }
}

impl Host {
    fn matches(&self, host: &str) -> bool {
        if self.is_suffix {
            host.ends_with(&self.name)
        } else {
            host == self.name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_whole_or_from_their_end() {
        let matches = |allowed: &str, host: &str| allowed.parse::<Host>().unwrap().matches(host);
        assert!(matches("files.example.com", "files.example.com"));
        assert!(matches("Files.Example.com", "files.example.com"));
        assert!(!matches("files.example.com", "www.files.example.com"));
        assert!(!matches("files.example.com", "files.example.com.evil.net"));
        assert!(matches("*.example.com", "files.example.com"));
        assert!(matches("*.example.com", "a.b.example.com"));
        assert!(!matches("*.example.com", "example.com"));
        assert!(!matches("*.example.com", "notexample.com"));
        assert!(matches("*", "whatever.net"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            "https://example.com",
            "example.com/files",
            "example.com:444",
            "*.",
            "a b",
            "*example.com",
        ] {
            assert_eq!(text.parse::<Host>(), Err(InvalidHost), "{text}");
        }
    }
}
