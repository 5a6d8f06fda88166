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
 * Adds parameters to the query of an address. Values that are null, undefined or empty are left out.
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
 * The address of a screen, for links: href("/coupon-sets", { type: "single" }).
 * @param {string} screen
 * @param {Query} [query]
 */
export function href(screen, query) {
  return `#${withQuery(screen, query)}`;
}
