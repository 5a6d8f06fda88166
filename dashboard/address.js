/** Addresses of the API and of screens. */

/**
 * A path whose values are percent-encoded: path`/v1/contacts/${id}/activity`.
 * @param {TemplateStringsArray} texts
 * @param {(string | number)[]} values
 */
export function path(texts, ...values) {
  return String.raw({ raw: texts }, ...values.map((value) => encodeURIComponent(value)));
}

/**
 * @typedef {Record<string, string | number | boolean | null | undefined>} Query
 *
 * An address with a query. What is null, undefined or empty is left out; what the address has already, stays.
 * @param {string} address
 * @param {Query} [query]
 */
export function withQuery(address, query = {}) {
  const [before, had] = address.split("?");
  const params = new URLSearchParams(had);
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") continue;
    params.set(name, String(value));
  }
  const text = params.toString();
  return text ? `${before}?${text}` : before;
}

/**
 * Where a screen is, for links: href("/coupon-sets", { type: "single" }).
 * @param {string} screen
 * @param {Query} [query]
 */
export function href(screen, query) {
  return `#${withQuery(screen, query)}`;
}
