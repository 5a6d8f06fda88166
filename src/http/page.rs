//! Keyset pagination: opaque cursors, and bodies of `results` and `links`.
//!
//! A cursor holds a direction and the key of the row next to its page, so that rows that are inserted or deleted
//! meanwhile do not shift pages. A query reads one row more than the page holds. That row shows that there is another
//! page.

use axum::http::Uri;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Error;

const DEFAULT_LIMIT: u16 = 50;
const MAX_LIMIT: u16 = 1000;

/// A page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Page<T> {
    results: Vec<T>,
    links: Links,
}

impl<T> Page<T> {
    pub(crate) fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page {
            results: self.results.into_iter().map(f).collect(),
            links: self.links,
        }
    }
}

/// Links to the next and previous pages, with all parameters of the request.
#[derive(Debug, Serialize)]
struct Links {
    next: Option<String>,
    prev: Option<String>,
}

/// The start of a page: after the row of this key, or before it if `back`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cursor<K> {
    pub key: K,
    pub back: bool,
}

/// The page that a request asks for: its size and its cursor.
#[derive(Debug)]
pub(crate) struct Paging<K> {
    limit: u16,
    cursor: Option<Cursor<K>>,
}

impl<K: Serialize + DeserializeOwned> Paging<K> {
    pub(crate) fn new(limit: Option<u16>, cursor: Option<&str>) -> Result<Self, Error> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Error::malformed(format!(
                "`limit` must be a number from 1 to {MAX_LIMIT}."
            )));
        }
        let cursor = cursor
            .map(|text| {
                decode(text)
                    .ok_or_else(|| Error::malformed("`cursor` was not returned by this list."))
            })
            .transpose()?;
        Ok(Self { limit, cursor })
    }

    /// The number of rows to query: one more than the page holds.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    pub(crate) fn key(&self) -> Option<&K> {
        self.cursor.as_ref().map(|cursor| &cursor.key)
    }

    pub(crate) fn back(&self) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.back)
    }

    /// Builds the page from rows in the order of the query, which is reversed if the cursor goes back.
    pub(crate) fn page<T>(&self, rows: Vec<T>, uri: &Uri, key: impl Fn(&T) -> K) -> Page<T> {
        self.sparse_page(rows, uri, key, None)
    }

    /// Builds the page from a query that may have stopped before the page was full. `stopped_at` is the key where it did.
    pub(crate) fn sparse_page<T>(
        &self,
        mut rows: Vec<T>,
        uri: &Uri,
        key: impl Fn(&T) -> K,
        stopped_at: Option<K>,
    ) -> Page<T> {
        let back = self.back();
        let link = |key: &K, back: bool| link(uri, &Cursor { key, back });
        let more = rows.len() > usize::from(self.limit);
        rows.truncate(usize::from(self.limit));
        let onward = rows.last().filter(|_| more).map(&key).or(stopped_at);
        let onward = onward.map(|key| link(&key, back));
        let returning = self.cursor.as_ref().map(|cursor| match rows.first() {
            Some(row) => link(&key(row), !back),
            None => link(&cursor.key, !back),
        });
        let (next, prev) = if back {
            rows.reverse();
            (returning, onward)
        } else {
            (onward, returning)
        };
        Page {
            results: rows,
            links: Links { next, prev },
        }
    }
}

fn decode<K: DeserializeOwned>(text: &str) -> Option<Cursor<K>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

fn link<K: Serialize>(uri: &Uri, cursor: &Cursor<K>) -> String {
    let json = serde_json::to_vec(cursor).expect("a cursor is plain data");
    let cursor = URL_SAFE_NO_PAD.encode(json);
    let others = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty() && !p.starts_with("cursor="));
    let query: Vec<String> = others
        .map(str::to_owned)
        .chain([format!("cursor={cursor}")])
        .collect();
    format!("{}?{}", uri.path(), query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one page of 0..n and returns it with the next link.
    fn walk(n: i32, limit: u16, uri: &str) -> (Vec<Vec<i32>>, Option<String>) {
        let uri: Uri = uri.parse().expect("a URI");
        let cursor = uri
            .query()
            .and_then(|q| q.split('&').find_map(|p| p.strip_prefix("cursor=")));
        let paging: Paging<i32> = Paging::new(Some(limit), cursor).expect("a cursor of ours");
        let rows: Vec<i32> = match (paging.key(), paging.back()) {
            (None, _) => (0..n).take(usize::from(limit) + 1).collect(),
            (Some(key), false) => (key + 1..n).take(usize::from(limit) + 1).collect(),
            (Some(key), true) => (0..*key).rev().take(usize::from(limit) + 1).collect(),
        };
        let page = paging.page(rows, &uri, |row| *row);
        (vec![page.results], page.links.next)
    }

    #[test]
    fn the_links_lead_through_all_rows_once() {
        let mut seen = Vec::new();
        let mut at = Some("/v1/things?q=a".to_owned());
        while let Some(uri) = at {
            assert!(uri.starts_with("/v1/things?q=a"));
            let (pages, next) = walk(7, 3, &uri);
            seen.extend(pages.concat());
            at = next;
        }
        assert_eq!(seen, (0..7).collect::<Vec<_>>());
    }

    #[test]
    fn a_page_leads_back_to_the_one_before() {
        let uri: Uri = "/v1/things".parse().expect("a URI");
        let back = Paging {
            limit: 3,
            cursor: Some(Cursor { key: 6, back: true }),
        };
        let page = back.page(vec![5, 4, 3, 2], &uri, |row| *row);
        assert_eq!(page.results, [3, 4, 5]);
        assert!(page.links.prev.is_some() && page.links.next.is_some());
        let page = back.page(vec![5, 4], &uri, |row| *row);
        assert_eq!(page.results, [4, 5]);
        assert!(page.links.prev.is_none() && page.links.next.is_some());
    }

    #[test]
    fn a_page_without_rows_leads_on_and_back_where_reading_stopped() {
        let uri: Uri = "/v1/things".parse().expect("a URI");
        for back in [false, true] {
            let paging = Paging {
                limit: 3,
                cursor: Some(Cursor { key: 6, back }),
            };
            let links = paging.sparse_page(vec![], &uri, |row| *row, Some(9)).links;
            let (onward, returning) = if back {
                (links.prev, links.next)
            } else {
                (links.next, links.prev)
            };
            assert_eq!(onward, Some(link(&uri, &Cursor { key: 9, back })));
            assert_eq!(
                returning,
                Some(link(
                    &uri,
                    &Cursor {
                        key: 6,
                        back: !back
                    }
                ))
            );
        }
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        assert!(Paging::<i32>::new(None, Some("bm9wZQ")).is_err());
        assert!(Paging::<i32>::new(Some(0), None).is_err());
        assert!(Paging::<i32>::new(Some(1001), None).is_err());
    }
}
