//! The hosts that files may be fetched from, as the operator names them.

use reqwest::Url;

/// The hosts that files may be fetched from.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Vec<Host>);

impl std::str::FromStr for Hosts {
    type Err = NotHost;

    /// Reads them from a list with commas.
    fn from_str(text: &str) -> Result<Self, NotHost> {
        let hosts = text
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty());
        hosts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    /// In lower case, as the URL has it.
    name: String,
    /// All names that end like this are meant.
    below: bool,
}

/// What is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host must be a name such as files.example.com, *.example.com for all names below it, or * for all hosts"
)]
pub struct NotHost;

impl std::str::FromStr for Host {
    type Err = NotHost;

    fn from_str(text: &str) -> Result<Self, NotHost> {
        if text == "*" {
            return Ok(Self {
                name: String::new(),
                below: true,
            });
        }
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (format!(".{name}"), true),
            None => (text.to_owned(), false),
        };
        // Whatever a URL would not have as its host is a mistake here.
        let host = name.trim_start_matches('.');
        let url = Url::parse(&format!("https://{host}/")).map_err(|_| NotHost)?;
        if host.contains('*') || url.host_str() != Some(host.to_lowercase().as_str()) {
            return Err(NotHost);
        }
        Ok(Self {
            name: name.to_lowercase(),
            below,
        })
    }
}

impl Hosts {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `host` is in lower case, as a URL has it.
    pub(crate) fn allow(&self, host: &str) -> bool {
        self.0.iter().any(|allowed| allowed.matches(host))
    }
}

impl Host {
    fn matches(&self, host: &str) -> bool {
        if self.below {
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
            assert_eq!(text.parse::<Host>(), Err(NotHost), "{text}");
        }
    }
}
