/** Every screen of the dashboard, and a tenant with data for each of them. */

/**
 * The screens, with the text by which one sees that their data is there. `:set`, `:single`, `:import` and `:webhook` are ids of the shop.
 * @type {[string, string, string?][]}
 */
export const screens = [
  ["the list of sets", "#/coupon-sets", "Welcome10"],
  ["creating a set", "#/coupon-sets/new"],
  ["a set's statistics", "#/coupon-sets/:set", "Breakdown"],
  ["a set's assignments", "#/coupon-sets/:set/assignments", "ann"],
  ["a set's codes", "#/coupon-sets/:set/codes", "BDAY-0001"],
  ["a code", "#/codes/BDAY-0001", "ann"],
  ["the contacts", "#/contacts"],
  ["a contact", "#/contacts/ann", "BDAY-0001"],
  ["choosing a file", "#/import?set=:set"],
  ["the result of an import", "#/import?import=:import", "5 codes imported into Birthday"],
  ["the history of imports", "#/imports", "Completed"],
  ["keys", "#/settings/keys", "Marketing"],
  ["webhooks", "#/settings/webhooks", "hooks.example"],
  ["a webhook", "#/settings/webhooks/:webhook"],
  ["workflows", "#/settings/workflows", "Welcome"],
];

/** A route with the ids of a shop in it. @param {string} route @param {Record<string, string>} ids */
export function routeOf(route, ids) {
  return route.replace(/:(\w+)/, (_, id) => ids[id]);
}

/**
 * A tenant with data for every screen.
 * @param {import("./shop.js").Shop} shop
 * @returns {Promise<Record<string, string>>}
 */
export async function furnish(shop) {
  const set = await shop.newSet({ name: "Birthday", type: "multiple", lowStockThreshold: 3 });
  const single = await shop.newSet({ name: "Welcome10", type: "single", code: "WELCOME10", quantity: 100 });
  await shop.newSet({ name: "Nothing yet", type: "multiple", expiresAt: "2020-01-01" });
  const imported = await shop.fill(set, ["BDAY-0001", "BDAY-0002", "BDAY-0003", "BDAY-0002", "BDAY-0004", "BDAY-0005"]);
  await shop.api("PUT", "/v1/workflows/01a2035c-402f-7345-b5a7-d6f26d39bba8", { name: "Welcome", state: "active", couponSetIds: [set.id] });
  for (const { id } of [set, single]) {
    for (const contactId of ["ann", "bob"]) {
      const given = await shop.api("POST", `/v1/coupon-sets/${id}/assignments`, { contactId }, { "Idempotency-Key": contactId });
      await shop.api("POST", `/v1/assignments/${given.id}/sent`, {});
    }
  }
  const webhook = await shop.api("POST", "/v1/webhooks", { url: "https://hooks.example/couponry", eventTypes: ["import.finished"] });
  return { set: set.id, single: single.id, import: imported.id, webhook: webhook.id };
}
