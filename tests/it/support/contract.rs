//! Checks requests and responses against `openapi.yaml`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use axum::http::{Method, header};
use jsonschema::Validator;
use serde_json::{Value, json};

use super::client::Answer;

/// The API document.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_yaml_ng::from_str(include_str!("../../../openapi.yaml")).expect("openapi.yaml is YAML")
});

/// An operation of the document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operation {
    pub method: String,
    pub path: String,
}

impl Operation {
    pub fn body(&self) -> &'static Value {
        &DOCUMENT["paths"][&self.path][&self.method]
    }
}

/// Every operation of the document.
pub fn operations() -> Vec<Operation> {
    let paths = DOCUMENT["paths"]
        .as_object()
        .expect("the document has paths");
    let methods = ["get", "put", "post", "patch", "delete"];
    let of_path = |(path, item): (&String, &Value)| {
        let path = path.clone();
        let present: Vec<_> = methods
            .iter()
            .filter(|method| !item[**method].is_null())
            .copied()
            .collect();
        present.into_iter().map(move |method| Operation {
            method: method.to_owned(),
            path: path.clone(),
        })
    };
    paths.iter().flat_map(of_path).collect()
}

/// The operation of a request. The path decides first, and a literal segment is a better match than a parameter: a
/// method that only a worse match has is not allowed.
pub fn operation(method: &Method, uri: &str) -> Option<Operation> {
    let path = uri.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        // A file may be in a folder.
        let has_rest = template.ends_with("/{file}") && segments.len() > parts.len();
        (parts.len() == segments.len() || has_rest)
            && parts.iter().zip(&segments).all(|(part, segment)| {
                part == segment || part.starts_with('{') && !segment.is_empty()
            })
    };
    let fitting = DOCUMENT["paths"].as_object()?.keys();
    let path = fitting
        .filter(|path| fits(path))
        .min_by_key(|path| path.matches('{').count())?;
    operations().into_iter().find(|operation| {
        method.as_str().to_lowercase() == operation.method && operation.path == *path
    })
}

fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => DOCUMENT
            .pointer(&reference[1..])
            .unwrap_or_else(|| panic!("{reference} leads nowhere")),
        None => value,
    }
}

/// Returns a validator from a cache: compiling them is expensive, and there are few.
fn validator(schema: &'static Value) -> Arc<Validator> {
    static KNOWN: LazyLock<Mutex<HashMap<usize, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap();
    let make = || {
        // Include the components, so that references resolve.
        let root = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": DOCUMENT["components"],
            "allOf": [schema],
        });
        let options = jsonschema::options().should_validate_formats(true);
        Arc::new(options.build(&root).expect("the schema is one"))
    };
    Arc::clone(
        known
            .entry(std::ptr::from_ref(schema) as usize)
            .or_insert_with(make),
    )
}

fn faults(schema: &'static Value, value: &Value) -> String {
    let validator = validator(schema);
    let faults: Vec<String> = validator
        .iter_errors(value)
        .map(|fault| format!("{fault} at {}", fault.instance_path()))
        .collect();
    faults.join("; ")
}

/// Returns true if the document allows the value where `schema` is a JSON pointer to its schema.
pub fn allows(schema: &str, value: &Value) -> bool {
    let schema = DOCUMENT.pointer(schema);
    faults(schema.expect("the document has it"), value).is_empty()
}

/// Fails the test if the message of a webhook violates the document.
#[track_caller]
pub fn check_message(message: &Value) {
    let kind = message["type"].as_str().expect("a message has a type");
    let body = &DOCUMENT["webhooks"][kind]["post"]["requestBody"];
    let faults = faults(&body["content"]["application/json"]["schema"], message);
    assert_eq!(faults, "", "{message}");
}

/// Fails the test if a response violates the document, or if a request that violates it was accepted.
pub fn check(method: &Method, uri: &str, sent: Option<&Value>, answer: &Answer) {
    let Some(operation) = operation(method, uri) else {
        let status = answer.status.as_u16();
        assert!(
            matches!(status, 404 | 405),
            "{method} {uri} is not in the document and was answered {status}"
        );
        return;
    };
    if let Err(fault) = compare(&operation, sent, answer) {
        panic!("{method} {uri} {}: {fault}\n{}", answer.status, answer.text);
    }
}

fn compare(operation: &Operation, sent: Option<&Value>, answer: &Answer) -> Result<(), String> {
    let status = answer.status.as_str();
    let response = resolve(&operation.body()["responses"][status]);
    if response.is_null() {
        return Err("the status is not in the document".to_owned());
    }
    let content = response["content"].as_object();
    match (content, answer.headers.get(header::CONTENT_TYPE)) {
        (None, None) => {}
        (None, Some(kind)) => {
            return Err(format!("a body of type {kind:?} is not in the document"));
        }
        (Some(_), None) => return Err("there is no body".to_owned()),
        (Some(content), Some(kind)) => {
            let kind = kind.to_str().map_err(|error| error.to_string())?;
            let kind = kind.split(';').next().unwrap_or_default();
            let body = content
                .get(kind)
                .ok_or_else(|| format!("{kind} is not in the document"))?;
            if kind.ends_with("json") {
                let faults = faults(&body["schema"], &answer.body);
                if !faults.is_empty() {
                    return Err(faults);
                }
            }
        }
    }
    // The items of a batch are checked one by one.
    let batches = ["assignCoupons", "recordEvents"];
    let judged = !batches.contains(&operation.body()["operationId"].as_str().unwrap_or_default());
    if let Some(sent) = sent.filter(|_| judged && answer.status.is_success()) {
        let body = resolve(&operation.body()["requestBody"]);
        let faults = faults(&body["content"]["application/json"]["schema"], sent);
        if !faults.is_empty() {
            return Err(format!("the request was accepted, but {faults}"));
        }
    }
    Ok(())
}

#[test]
fn the_check_notices_an_answer_that_is_not_as_the_document_says() {
    let answer = |status: u16, body: Value| Answer {
        status: status.try_into().unwrap(),
        headers: [(header::CONTENT_TYPE, "application/json".parse().unwrap())]
            .into_iter()
            .collect(),
        text: body.to_string(),
        body,
    };
    let find = operation(&Method::GET, "/v1/coupon-sets/x").unwrap();
    assert!(compare(&find, None, &answer(200, json!({"id": "x"}))).is_err());
    assert!(compare(&find, None, &answer(418, json!({}))).is_err());
}
