//! The command `couponry apply`: brings tenants, keys and webhooks into the state that a file declares.
//!
//! Tenants and keys are changed in one transaction, then webhooks one by one. Applying a file again is safe: it completes what a
//! failed application left, and changes nothing that is as declared.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Error, print, with_database};
use crate::config::Config;
use crate::database::Database;
use crate::declared::Outcome;
use crate::http;
use crate::http::error::Fault;
use crate::http::extract::{Fields, FromFields, read};
use crate::ids::TenantId;
use crate::tenants::auth::Auth;
use crate::tenants::declared::{self as tenants, DeclaredKey, DeclaredTenant};
use crate::webhooks::Webhooks;
use crate::webhooks::declared::{self as webhooks, DeclaredWebhook};

/// The file to apply.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// File of tenants, keys and webhooks, as YAML or JSON; `-` is standard input.
    file: PathBuf,

    /// Only print the changes.
    #[arg(long)]
    dry_run: bool,

    /// Print the changes as JSON.
    #[arg(long)]
    json: bool,
}

/// A file as it is declared.
struct Declarations(Vec<Declaration>);

struct Declaration {
    tenant: DeclaredTenant,
    keys: Vec<DeclaredKey>,
    webhooks: Vec<DeclaredWebhook>,
}

impl FromFields for Declarations {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self(fields.objects("tenants")))
    }
}

impl FromFields for Declaration {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let tenant = DeclaredTenant::from_fields(fields);
        let keys = fields.objects("keys");
        let webhooks = fields.objects("webhooks");
        Some(Self {
            tenant: tenant?,
            keys,
            webhooks,
        })
    }
}

/// A change that was made, or that a dry run would make.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    action: &'static str,
    kind: &'static str,
    tenant: String,
    /// The id of a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    /// The name of a key, or the URL of a webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The fields that changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<&'static str>,
    /// The secret of a new webhook, which cannot be shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    changes: Vec<Change>,
}

impl Report {
    fn add(&mut self, kind: &'static str, tenant: &str, outcome: Outcome) -> Option<&mut Change> {
        let (action, fields) = match outcome {
            Outcome::Unchanged => return None,
            Outcome::Created => ("create", Vec::new()),
            Outcome::Updated(fields) => ("update", fields),
        };
        self.changes.push(Change {
            action,
            kind,
            tenant: tenant.to_owned(),
            id: None,
            name: None,
            fields,
            secret: None,
        });
        self.changes.last_mut()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for change in &self.changes {
            let Change { action, kind, .. } = change;
            let _ = write!(text, "{action} {kind} ");
            if let Some(name) = &change.name {
                let _ = write!(text, "{name} of ");
            }
            let _ = write!(text, "{:?}", change.tenant);
            if !change.fields.is_empty() {
                let _ = write!(text, ": {}", change.fields.join(", "));
            }
            if let Some(secret) = &change.secret {
                let _ = write!(text, ", secret {secret}");
            }
            text.push('\n');
        }
        let _ = match (self.changes.len(), self.dry_run) {
            (0, _) => write!(text, "Nothing to change."),
            (count, true) => write!(text, "Changes that would be made: {count}."),
            (count, false) => write!(text, "Changes made: {count}."),
        };
        text
    }
}

/// Applies the file and prints the changes. After a failure it prints those that were made.
pub async fn run(arguments: &Arguments, config: &Config) -> Result<(), Error> {
    let declarations = read_file(&arguments.file)?;
    with_database(config, async |database| {
        // Nothing here authenticates anybody.
        let auth = Auth::new(database, None, None);
        let webhooks = Webhooks::new(&auth, database, config);
        check_webhooks(&declarations, &webhooks)?;
        let mut report = Report {
            dry_run: arguments.dry_run,
            ..Report::default()
        };
        let applied = apply(database, &webhooks, declarations, &mut report).await;
        if applied.is_ok() || !report.changes.is_empty() {
            print(arguments.json, &report, report.text())?;
        }
        applied
    })
    .await
}

fn read_file(path: &Path) -> Result<Declarations, Error> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|error| Error::Read(error, path.to_owned()))?;
    let invalid = |error: &dyn std::fmt::Display| {
        Error::Refused(format!("{} is not valid: {error}", path.display()))
    };
    // JSON is YAML too. YAML's own value rejects a key that occurs twice.
    let yaml: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&text).map_err(|error| invalid(&error))?;
    let value = serde_json::to_value(yaml).map_err(|error| invalid(&error))?;
    match value {
        Value::Object(_) => read(value).map_err(|faults| refused(path, &faults)),
        _ => Err(invalid(&"it must be an object with `tenants`")),
    }
}

fn refused(path: &Path, faults: &[Fault]) -> Error {
    let mut text = format!("{} is not valid:", path.display());
    for Fault { pointer, detail } in faults {
        let _ = write!(text, "\n  {pointer}: {detail}");
    }
    Error::Refused(text)
}

/// Checks all URLs before anything is changed.
fn check_webhooks(declarations: &Declarations, webhooks: &Webhooks) -> Result<(), Error> {
    let mut faults = Vec::new();
    for (tenant, declaration) in declarations.0.iter().enumerate() {
        for (index, webhook) in declaration.webhooks.iter().enumerate() {
            if let Err(fault) = webhook.check(webhooks) {
                let pointer = format!("/tenants/{tenant}/webhooks/{index}{}", fault.pointer);
                faults.push(Fault::new(pointer, fault.detail));
            }
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(http::error::Error::Invalid(faults).into())
    }
}

async fn apply(
    database: &Database,
    webhooks: &Webhooks,
    declarations: Declarations,
    report: &mut Report,
) -> Result<(), Error> {
    let mut transaction = database.system().await?;
    tenants::lock(&mut transaction).await?;
    let mut numbers = Vec::new();
    let mut made = Report {
        dry_run: report.dry_run,
        ..Report::default()
    };
    for Declaration { tenant, keys, .. } in &declarations.0 {
        let name = &tenant.name.0;
        let (number, outcome) = tenants::apply_tenant(&mut transaction, tenant).await?;
        numbers.push(number);
        made.add("tenant", name, outcome);
        for key in keys {
            let outcome = tenants::apply_key(&mut transaction, number, key)
                .await
                .map_err(|error| of(&format!("key {}", key.id()), error))?;
            if let Some(change) = made.add("key", name, outcome) {
                change.id = Some(key.id());
                change.name = Some(key.name().to_owned());
            }
        }
    }
    if report.dry_run {
        transaction.rollback().await?;
    } else {
        transaction.commit().await?;
    }
    *report = made;
    // A dry run has taken back the tenants that it created. They have no webhooks then, as a new tenant has none.
    for (declaration, number) in declarations.0.into_iter().zip(numbers) {
        apply_webhooks(webhooks, declaration, number, report).await?;
    }
    Ok(())
}

async fn apply_webhooks(
    webhooks: &Webhooks,
    declaration: Declaration,
    tenant: TenantId,
    report: &mut Report,
) -> Result<(), Error> {
    let name = &declaration.tenant.name.0;
    for webhook in declaration.webhooks {
        let url = webhook.url().to_owned();
        let applied = webhooks::apply(webhooks, tenant, webhook, report.dry_run)
            .await
            .map_err(|error| of(&format!("webhook {url}"), error))?;
        if let Some(change) = report.add("webhook", name, applied.outcome) {
            change.name = Some(url);
            change.secret = applied.secret;
        }
    }
    Ok(())
}

/// The error with the resource that it concerns.
fn of(resource: &str, error: http::error::Error) -> Error {
    match Error::from(error) {
        Error::Refused(detail) => Error::Refused(format!("{resource}: {detail}")),
        error => error,
    }
}
