//! The settings in effect, for people.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};
use reqwest::Url;
use serde::Serialize;

use super::{Config, arguments, variable};

/// Shown in place of a secret.
const REDACTED: &str = "***";

/// A setting as it is in effect.
#[derive(Debug, Serialize)]
pub struct Setting {
    pub variable: String,
    pub option: String,
    /// Without its secrets. Null if the setting is not set.
    pub value: Option<String>,
    pub source: &'static str,
}

/// Lists the settings in effect, without their secrets. `config` was made of `matches`.
#[must_use]
pub fn list(matches: &ArgMatches, config: &Config) -> Vec<Setting> {
    let setting = |arg: &Arg| {
        let id = arg.get_id().as_str();
        let given = matches.get_raw(id).into_iter().flatten();
        let given: Vec<_> = given.map(|value| value.to_string_lossy()).collect();
        let given = Some(given.concat()).filter(|value| !value.is_empty());
        let source = match matches.value_source(id) {
            Some(ValueSource::EnvVariable) => "environment",
            Some(ValueSource::CommandLine) => "command line",
            _ => "default",
        };
        let effective = match id {
            "database_url" => config.database_url.clone(),
            "migrate_url" => config.migrate_url.clone(),
            "operator_token" => config.operator_token.clone(),
            _ => given.clone(),
        };
        let source = match (&given, &effective) {
            (None, Some(_)) => "file",
            (_, None) => "default",
            _ => source,
        };
        let shown = |value: String| match id {
            id if id.ends_with("_url") || id == "otlp_endpoint" => redact(&value),
            id if id.ends_with("_token") => REDACTED.to_owned(),
            _ => value,
        };
        Setting {
            variable: variable(arg),
            option: format!("--{}", arg.get_long().unwrap_or_default()),
            value: effective.map(shown),
            source,
        }
    };
    arguments().iter().map(setting).collect()
}

/// Hides the password of a URL.
fn redact(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        return REDACTED.to_owned();
    };
    if url.password().is_some() && url.set_password(Some(REDACTED)).is_err() {
        return REDACTED.to_owned();
    }
    if url.query_pairs().any(|(name, _)| name == "password") {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let shown = pairs.iter().map(|(name, value)| {
            let hidden = name == "password";
            (name, if hidden { REDACTED } else { value })
        });
        url.query_pairs_mut().clear().extend_pairs(shown);
    }
    url.into()
}
