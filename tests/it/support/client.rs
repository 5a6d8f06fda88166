//! An API client in this process.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::contract;

/// Sends requests with one set of credentials.
#[derive(Clone)]
pub struct Client {
    router: Router,
    authorization: Option<String>,
    /// The cookie of a session, sent as the dashboard sends it.
    cookie: Option<String>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    /// Null if the body is not JSON.
    pub body: Value,
}

impl Answer {
    /// Fails unless this is the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// A string member of the body.
    #[track_caller]
    pub fn str(&self, name: &str) -> &str {
        self.body[name]
            .as_str()
            .unwrap_or_else(|| panic!("`{name}` is no string in {}", self.text))
    }

    /// The code of the problem. Fails unless the response is a problem.
    #[track_caller]
    pub fn problem(&self) -> &str {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{}",
            self.text
        );
        assert_eq!(self.body["status"], self.status.as_u16());
        assert_eq!(self.headers["x-request-id"], self.str("requestId"));
        self.str("code")
    }

    /// The problem's status and code, as in "409 name-taken".
    #[track_caller]
    pub fn refusal(&self) -> String {
        format!("{} {}", self.status.as_u16(), self.problem())
    }

    /// The pointers of the errors of a 422.
    #[track_caller]
    pub fn faults(&self) -> Vec<&str> {
        assert_eq!(self.problem(), "validation-failed", "{}", self.text);
        let faults = self.body["errors"].as_array().expect("a list of faults");
        faults
            .iter()
            .map(|fault| fault["pointer"].as_str().expect("a pointer"))
            .collect()
    }

    /// The cookie that the response sets, in the form in which it is sent back.
    #[track_caller]
    pub fn cookie(&self) -> &str {
        let cookie = self.headers[header::SET_COOKIE].to_str().expect("text");
        cookie.split(';').next().expect("a text has a beginning")
    }

    /// The results of a list.
    #[track_caller]
    pub fn results(&self) -> &Vec<Value> {
        self.body["results"]
            .as_array()
            .unwrap_or_else(|| panic!("no list: {}", self.text))
    }
}

impl Client {
    pub fn new(router: Router, authorization: Option<String>) -> Self {
        Self {
            router,
            authorization,
            cookie: None,
        }
    }

    /// The same client with another `Authorization`.
    pub fn authorized(&self, authorization: &str) -> Self {
        Self {
            router: self.router.clone(),
            authorization: Some(authorization.to_owned()),
            cookie: None,
        }
    }

    /// The same client with the session of this cookie.
    pub fn with_session(&self, cookie: &str) -> Self {
        Self {
            router: self.router.clone(),
            authorization: None,
            cookie: Some(cookie.to_owned()),
        }
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.send(Method::GET, uri, &[], Body::empty()).await
    }

    pub async fn delete(&self, uri: &str) -> Answer {
        self.send(Method::DELETE, uri, &[], Body::empty()).await
    }

    pub async fn post(&self, uri: &str, body: Value) -> Answer {
        self.json(Method::POST, uri, &[], body).await
    }

    pub async fn patch(&self, uri: &str, body: Value) -> Answer {
        self.json(Method::PATCH, uri, &[], body).await
    }

    pub async fn json(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.send(method, uri, &headers, body.to_string()).await
    }

    /// Sends a request and checks the response against the API document. A path that is not in the document must get
    /// 404.
    pub async fn send(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(uri)
            .header(header::HOST, "localhost");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
            request = request.header("x-couponry-session", "dashboard");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body
            .into()
            .collect()
            .await
            .expect("a body of a test")
            .to_bytes();
        let sent = body.clone();
        let request = request.body(Body::from(body)).expect("a request");
        let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("the router answers");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("the whole answer").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("the answer is UTF-8");
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        };
        let sent = content_type
            .filter(|kind| kind == "application/json")
            .and_then(|_| serde_json::from_slice::<Value>(&sent).ok());
        contract::check(&method, uri, sent.as_ref(), &answer);
        answer
    }
}
