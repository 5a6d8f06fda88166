//! Following the links of a list.

use serde_json::Value;

use super::client::Client;

/// Reads a list to its end by `next` and from there back to its beginning by `prev`, and fails unless both directions
/// show the same pages. Returns the pages.
pub async fn walk(client: &Client, uri: &str) -> Vec<Vec<Value>> {
    let mut page = client.get(uri).await.expect(200);
    assert_eq!(
        page.body["links"]["prev"],
        Value::Null,
        "before the first page of {uri}"
    );
    let mut forward = vec![page.results().clone()];
    while let Some(next) = page.body["links"]["next"].as_str() {
        page = client.get(next).await.expect(200);
        forward.push(page.results().clone());
        assert!(forward.len() < 1000, "{uri} has no end");
    }
    let mut backward = vec![page.results().clone()];
    while let Some(prev) = page.body["links"]["prev"].as_str() {
        page = client.get(prev).await.expect(200);
        backward.push(page.results().clone());
        assert!(backward.len() < 1000, "{uri} has no beginning");
    }
    backward.reverse();
    assert_eq!(forward, backward, "{uri} reads differently backwards");
    forward
}

/// One member of each result, as text.
pub fn strings<'a>(results: impl IntoIterator<Item = &'a Value>, member: &str) -> Vec<String> {
    let text = |result: &Value| {
        result[member]
            .as_str()
            .unwrap_or_else(|| panic!("`{member}` is no string in {result}"))
            .to_owned()
    };
    results.into_iter().map(text).collect()
}
