//! Calls of functions with their arguments as literals. Behind a pooler that does not know of prepared statements, such a
//! call costs one round trip, and one with bound arguments four: it has to be prepared in the transaction that executes it.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use crate::ids::TenantId;

/// An argument. Its literal has no type, so PostgreSQL takes that of the parameter.
pub(crate) trait Literal {
    /// Returns the value in the text form of PostgreSQL, or `None` for null.
    fn text(&self) -> Option<Cow<'_, str>>;
}

/// Returns `{select}(arguments)`. `select` is the statement up to the name of the function.
pub(crate) fn call_with_literals(select: &str, arguments: &[&dyn Literal]) -> String {
    let mut sql = select.to_owned();
    for (place, argument) in arguments.iter().enumerate() {
        sql.push_str(if place == 0 { "(" } else { ", " });
        match argument.text() {
            Some(text) => quote(&mut sql, &text),
            None => sql.push_str("null"),
        }
    }
    sql.push(')');
    sql
}

/// Executes a statement of [`call_with_literals`], and returns its rows.
pub(crate) async fn fetch_rows<T: for<'r> FromRow<'r, PgRow>>(
    connection: &mut PgConnection,
    call: String,
) -> sqlx::Result<Vec<T>> {
    // Safe from injection, because each argument is quoted.
    let rows = sqlx::raw_sql(AssertSqlSafe(call)).fetch_all(connection);
    rows.await?.iter().map(T::from_row).collect()
}

/// Appends an escape string, which does not depend on `standard_conforming_strings` (PostgreSQL, "String Constants With
/// C-Style Escapes").
fn quote(sql: &mut String, text: &str) {
    sql.push_str("E'");
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            sql.push(c);
        }
        sql.push(c);
    }
    sql.push('\'');
}

impl Literal for str {
    fn text(&self) -> Option<Cow<'_, str>> {
        Some(self.into())
    }
}

impl Literal for bool {
    fn text(&self) -> Option<Cow<'_, str>> {
        Some(if *self { "true" } else { "false" }.into())
    }
}

impl Literal for DateTime<Utc> {
    /// With the microseconds that PostgreSQL stores.
    fn text(&self) -> Option<Cow<'_, str>> {
        Some(self.to_rfc3339_opts(SecondsFormat::Micros, true).into())
    }
}

macro_rules! displayed {
    ($($type:ty),+) => {
        $(impl Literal for $type {
            fn text(&self) -> Option<Cow<'_, str>> {
                Some(self.to_string().into())
            }
        })+
    };
}

displayed!(i32, i64, Uuid, TenantId);

impl<T: Literal + ?Sized> Literal for &T {
    fn text(&self) -> Option<Cow<'_, str>> {
        (**self).text()
    }
}

impl<T: Literal> Literal for Option<T> {
    fn text(&self) -> Option<Cow<'_, str>> {
        self.as_ref().and_then(Literal::text)
    }
}

impl<T: Literal> Literal for [T] {
    /// An array, in which each element is quoted (PostgreSQL, "Array Input and Output Syntax").
    fn text(&self) -> Option<Cow<'_, str>> {
        let mut array = String::from("{");
        for (place, element) in self.iter().enumerate() {
            if place > 0 {
                array.push(',');
            }
            let Some(text) = element.text() else {
                array.push_str("null");
                continue;
            };
            array.push('"');
            for c in text.chars() {
                if matches!(c, '"' | '\\') {
                    array.push('\\');
                }
                array.push(c);
            }
            array.push('"');
        }
        array.push('}');
        Some(array.into())
    }
}

impl<T: Literal> Literal for Vec<T> {
    fn text(&self) -> Option<Cow<'_, str>> {
        self[..].text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_quoted_literals_and_nulls() {
        let at = DateTime::from_timestamp_micros(1_790_000_000_123_456);
        let contacts = [Some(r#"O'Neil "B" \ é"#), None, Some("null"), Some("")];
        let call = call_with_literals(
            "select n from f",
            &[
                &-5_i64,
                &true,
                &at,
                &None::<&str>,
                &contacts.to_vec(),
                &Vec::<i32>::new(),
            ],
        );
        let expected = concat!(
            "select n from f(E'-5', E'true', E'2026-09-21T14:13:20.123456Z', null, ",
            r#"E'{"O''Neil \\"B\\" \\\\ é",null,"null",""}', E'{}')"#
        );
        assert_eq!(call, expected);
    }
}
