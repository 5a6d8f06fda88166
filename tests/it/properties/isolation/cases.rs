//! Every operation of the API document, with its request and its expected response to another tenant's key.
//!
//! An operation without a case here fails the tests of `isolation`: add its response to a stranger.

use serde_json::{Value, json};

use crate::properties::isolation::Victim;
use crate::support::contract::Operation;

/// Response of an operation to another tenant's key that has all scopes.
pub(super) enum Stranger {
    /// 404, as if it did not exist.
    Gone,
    /// 200 with exactly this body.
    Sees(Value),
    /// 200, with 404 for each item as if it did not exist.
    EachGone(usize),
    /// 422 for the field that names another tenant's resource.
    Refused(&'static str),
    /// It concerns only the stranger's own resources.
    Own(u16),
}

pub(super) struct Case {
    pub query: &'static str,
    pub content_type: &'static str,
    pub body: String,
    pub stranger: Stranger,
}

/// The statistics of a tenant without sets.
fn nothing_happened() -> Value {
    let day = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"});
    let levels = json!({"quantity": 0, "available": 0, "reserved": 0, "expired": 0});
    let flows = json!({
        "assigned": 0,
        "sent": 0,
        "used": 0,
        "released": 0,
        "void": 0,
        "withdrawn": 0,
        "servedForOthers": 0,
    });
    let zone = json!({"interval": "day", "timezone": "UTC"});
    let merged = |parts: &[&Value]| {
        let members = parts.iter().filter_map(|part| part.as_object()).flatten();
        Value::Object(
            members
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    };
    json!({
        "couponSets": 0,
        "totals": merged(&[&levels, &flows]),
        "period": merged(&[&day, &zone, &flows]),
        "series": [merged(&[&day, &levels, &flows])],
        "byWorkflow": [],
        "byNode": [],
        "byImport": [],
        "byCouponSet": [],
        "runsOutNext": [],
    })
}

#[expect(clippy::too_many_lines, reason = "a table of operations")]
pub(super) fn case(operation: &Operation, victim: &Victim) -> Case {
    use Stranger::{EachGone, Gone, Own, Refused, Sees};

    let nothing = || Sees(json!({"results": [], "links": {"next": null, "prev": null}}));
    let get = |stranger| Case {
        query: "",
        content_type: "",
        body: String::new(),
        stranger,
    };
    let json = |body: Value, stranger| Case {
        query: "",
        content_type: "application/json",
        body: body.to_string(),
        stranger,
    };
    let form = || Case {
        query: "",
        content_type: "multipart/form-data; boundary=b",
        body: form_for(&victim.set.id),
        stranger: Gone,
    };
    let name = format!("{} {}", operation.method, operation.path);
    match &*name {
        "post /v1/coupon-sets" => json(
            json!({"name": "a", "type": "multiple", "childCouponSetId": victim.set.id}),
            Refused("/childCouponSetId"),
        ),
        "get /v1/coupon-sets"
        | "get /v1/imports"
        | "get /v1/assignments"
        | "get /v1/workflows"
        | "get /v1/webhooks" => get(nothing()),
        "get /v1/coupons" => Case {
            query: "?code=SECRET-1",
            ..get(nothing())
        },
        "put /v1/workflows/{workflowId}" => json(
            json!({"name": "mine", "state": "active", "couponSetIds": [victim.set.id]}),
            Refused("/couponSetIds/0"),
        ),
        "get /v1/coupon-sets/{couponSetId}"
        | "delete /v1/coupon-sets/{couponSetId}"
        | "get /v1/coupon-sets/{couponSetId}/statistics"
        | "get /v1/imports/{importId}"
        | "get /v1/imports/{importId}/errors.csv"
        | "delete /v1/imports/{importId}"
        | "post /v1/imports/{importId}/cancel"
        | "post /v1/imports/{importId}/undo"
        | "get /v1/coupon-sets/{couponSetId}/coupons"
        | "get /v1/assignments/{assignmentId}"
        | "post /v1/assignments/{assignmentId}/confirm"
        | "post /v1/assignments/{assignmentId}/sent"
        | "post /v1/assignments/{assignmentId}/used"
        | "post /v1/assignments/{assignmentId}/release"
        | "get /v1/workflows/{workflowId}"
        | "delete /v1/workflows/{workflowId}"
        | "delete /v1/api-keys/{keyId}"
        | "get /v1/api-keys/{keyId}/sessions"
        | "delete /v1/api-keys/{keyId}/sessions/{sessionId}"
        | "get /v1/webhooks/{webhookId}"
        | "delete /v1/webhooks/{webhookId}"
        | "post /v1/webhooks/{webhookId}/rotate-secret"
        | "post /v1/webhooks/{webhookId}/test"
        | "get /v1/webhooks/{webhookId}/deliveries"
        | "post /v1/webhooks/{webhookId}/deliveries/{deliveryId}/replay" => get(Gone),
        "patch /v1/webhooks/{webhookId}" => json(json!({"state": "enabled"}), Gone),
        "post /v1/webhooks/{webhookId}/deliveries/replay" => Case {
            query: "?from=2026-01-01T00:00:00Z&to=2999-01-01T00:00:00Z",
            ..get(Gone)
        },
        "post /v1/webhooks" => json(
            json!({"url": "https://example.com/", "eventTypes": ["coupon.assigned"]}),
            Own(201),
        ),
        "post /v1/assignments/{assignmentId}/void" => json(json!({"reason": "mine"}), Gone),
        "post /v1/assignments/events" => json(
            json!({"events": [
                {"assignmentId": victim.assignment, "event": "used"},
                {"couponSetId": victim.set.id, "code": "SECRET-1", "event": "used"},
                {"couponSetId": victim.set.id, "code": "SECRET-2", "event": "used"},
            ]}),
            EachGone(3),
        ),
        "get /v1/coupon-sets/{couponSetId}/availability" => Case {
            query: "?count=1",
            ..get(Gone)
        },
        "patch /v1/coupon-sets/{couponSetId}" => json(json!({"name": "mine"}), Gone),
        "post /v1/coupon-sets/{couponSetId}/imports" => json(json!({"codes": ["MINE"]}), Gone),
        "post /v1/coupon-sets/{couponSetId}/coupons/withdraw" => {
            json(json!({"codes": ["SECRET-2"]}), Gone)
        }
        "post /v1/imports" | "post /v1/imports/" => form(),
        "post /v1/imports/preview" => Case {
            query: "",
            content_type: "text/csv",
            body: "code\nMINE\n".to_owned(),
            stranger: Own(200),
        },
        "post /v1/coupon-sets/{couponSetId}/assignments" => json(json!({"contactId": "me"}), Gone),
        "post /v1/coupon-sets/{couponSetId}/assignments/batch" => {
            json(json!({"items": [{"contactId": "me"}]}), Gone)
        }
        "get /v1/contacts/{contactId}/activity" | "get /v1/contacts/{contactId}/coupons" => {
            get(Sees(json!({
                "contactId": "secret contact",
                "mergedInto": null,
                "results": [],
                "links": {"next": null, "prev": null},
            })))
        }
        "post /v1/contacts/{contactId}/merge" => json(
            json!({"into": "mine"}),
            Sees(json!({"contactId": "secret contact", "mergedInto": "mine"})),
        ),
        "delete /v1/contacts/{contactId}" => get(Own(202)),
        "get /v1/statistics" => Case {
            query: "?from=2026-01-01&to=2026-01-01",
            ..get(Sees(nothing_happened()))
        },
        "get /v1/api-keys" => get(Own(200)),
        "post /v1/api-keys" => json(json!({"name": "mine", "scopes": ["*"]}), Own(201)),
        // Operator only: a tenant's key is rejected.
        "post /admin/v1/tenants" => json(json!({"name": "mine"}), Own(401)),
        "post /admin/v1/tenants/{tenantId}/api-keys" => {
            json(json!({"name": "mine", "scopes": ["*"]}), Own(401))
        }
        "patch /admin/v1/tenants/{tenantId}" => json(json!({"rateLimit": null}), Own(401)),
        "get /admin/v1/tenants"
        | "delete /admin/v1/tenants/{tenantId}"
        | "post /admin/v1/tenants/{tenantId}/suspend"
        | "post /admin/v1/tenants/{tenantId}/resume"
        | "get /admin/v1/tenants/{tenantId}/api-keys"
        | "delete /admin/v1/tenants/{tenantId}/api-keys/{keyId}" => get(Own(401)),
        _ => panic!("what does `{name}` answer to a stranger?"),
    }
}

fn form_for(set: &str) -> String {
    let field = |name: &str, value: &str| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    [
        field("type", "coupons"),
        field("couponSetId", set),
        field("file\"; filename=\"codes.csv", "code\nMINE\n"),
        "--b--\r\n".to_owned(),
    ]
    .concat()
}
