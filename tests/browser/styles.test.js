/** Every class that a module takes from a style sheet is defined there, and every defined one is used. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { sources, styles } from "./support/sources.js";

/** The classes that a style sheet defines. @param {string} file */
function definedIn(file) {
  const text = readFileSync(file, "utf8").replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/:global\([^)]*\)/g, "");
  const selectors = [...text.matchAll(/([^{}]+)\{/g)].map(([, selector]) => selector).filter((selector) => !selector.trim().startsWith("@"));
  return new Set(selectors.flatMap((selector) => [...selector.matchAll(/\.([A-Za-z]\w*)/g)].map(([, name]) => name)));
}

/** The style sheets that a module imports, by their names in it. @param {string} file @param {string} text */
function sheetsOf(file, text) {
  const imports = text.matchAll(/^import (\w+) from "(\.[^"]+\.module\.css)";/gm);
  return [...imports].map(([, name, path]) => ({ name, path: fileURLToPath(new URL(path, pathToFileURL(file))) }));
}

test("a module uses only classes that the style sheet defines, and each class is used", () => {
  /** @type {Map<string, Set<string>>} */
  const used = new Map(styles().map((file) => [file, new Set()]));
  /** The style sheets with names that are composed: `css[kind]`. @type {Set<string>} */
  const composed = new Set();
  const missing = [];
  for (const file of sources()) {
    const text = readFileSync(file, "utf8");
    const code = text.replaceAll(/^import .*$/gm, "");
    for (const { name, path } of sheetsOf(file, text)) {
      const defined = definedIn(path);
      if (code.includes(`${name}[`)) composed.add(path);
      for (const [, wanted] of code.matchAll(new RegExp(`\\b${name}\\.(\\w+)`, "g"))) {
        used.get(path)?.add(wanted);
        if (!defined.has(wanted)) missing.push(`${wanted} in ${file}`);
      }
    }
  }
  assert.deepEqual(missing, []);
  const unused = [...used].filter(([path]) => !composed.has(path)).flatMap(([path, names]) => [...definedIn(path)].filter((name) => !names.has(name)).map((name) => `${name} in ${path}`));
  assert.deepEqual(unused, []);
});
