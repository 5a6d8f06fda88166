/** Addresses of the API and of screens. */

/** A path whose values are percent-encoded: path`/v1/contacts/${id}/activity`. */
export function path(texts: TemplateStringsArray, ...values: (string | number)[]) {
  return String.raw({ raw: texts }, ...values.map((value) => encodeURIComponent(value)));
}

export type Query = Record<string, string | number | boolean | null | undefined>;

/** Adds parameters to the query of an address. Values that are null, undefined or empty are left out. */
export function withQuery(address: string, query: Query = {}) {
  const [before, had] = address.split("?");
  const params = new URLSearchParams(had);
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") continue;
    params.set(name, String(value));
  }
  const text = params.toString();
  return text ? `${before}?${text}` : before;
}

/** The address of a screen, for links: href("/coupon-sets", { type: "single" }). */
export function href(screen: string, query?: Query) {
  return `#${withQuery(screen, query)}`;
}
