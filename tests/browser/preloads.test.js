/** The page names all modules of its first screen, so that the browser requests all of them at once. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { dashboard } from "./support/sources.js";

const page = readFileSync(new URL("index.html", dashboard), "utf8");
/** @type {Record<string, string>} */
const bare = JSON.parse(/<script type="importmap">([\s\S]*?)<\/script>/.exec(page)?.[1] ?? "{}").imports;

/** The path in the repository of a file that the page names. @param {string} address */
function fileOf(address) {
  const path = address.replace(/^(\.\/)?%VERSION%\//, "");
  return new URL(path.startsWith("vendor/") ? `../${path}` : path, dashboard);
}

/** The style sheets that a name such as `style/base+table.css` joins. @param {string} address */
function eachOf(address) {
  return address.split("+").map((part, i, { length }) => (i > 0 ? "%VERSION%/style/" : "") + part + (i < length - 1 ? ".css" : ""));
}

/**
 * The static imports of a module, with those of the imported modules, but without modules that are loaded later.
 * @param {URL} module
 * @param {Set<string>} [found]
 */
function importsOf(module, found = new Set()) {
  if (found.has(module.href)) return found;
  found.add(module.href);
  for (const [, name] of readFileSync(module, "utf8").matchAll(/\bfrom\s*"([^"]+)"/g)) {
    importsOf(name in bare ? fileOf(bare[name]) : new URL(name, module), found);
  }
  return found;
}

test("the page names exactly the modules of the frame, of the sign-in and of the list of sets", () => {
  const named = [...page.matchAll(/(?:<link rel="modulepreload" href|<script type="module"[^>]* src)="([^"]+)"/g)].map(([, address]) => fileOf(address).href);
  const needed = new Set([...importsOf(new URL("app.js", dashboard)), ...importsOf(new URL("screens/coupon-sets.js", dashboard))]);
  for (const section of ["common", "sets"]) needed.add(new URL(`texts/en/${section}.js`, dashboard).href);
  assert.deepEqual(named.sort(), [...needed].sort());
});

test("every file that the page names exists", () => {
  const named = [...page.matchAll(/"((?:\.\/)?%VERSION%\/[^"]+)"/g)].flatMap(([, address]) => eachOf(address));
  assert.ok(named.length > 20);
  assert.deepEqual(named.filter((address) => !existsSync(fileOf(address))), []);
});
