/** The style sheets of screens and parts: their classes are used and exist, and their rules reach nothing else. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { sources, styles } from "./support/sources.js";

/** The selectors of a style sheet, without the global classes in them. @param {string} file */
function selectorsOf(file) {
  const text = readFileSync(file, "utf8")
    .replaceAll(/\/\*[\s\S]*?\*\//g, "")
    .replaceAll(/@keyframes [^{]*\{(?:[^{}]*\{[^{}]*\})*\s*\}/g, "")
    .replaceAll(/:global\([^)]*\)/g, "");
  const heads = [...text.matchAll(/([^{};]+)\{/g)].map(([, head]) => head.trim()).filter((head) => !head.startsWith("@"));
  return heads.flatMap(listOf);
}

/** The selectors of a list. A comma inside of parentheses does not end one. @param {string} head */
function listOf(head) {
  let depth = 0;
  let list = "";
  for (const letter of head) {
    depth += letter === "(" ? 1 : letter === ")" ? -1 : 0;
    list += letter === "," && depth === 0 ? "\n" : letter;
  }
  return list.split("\n").map((selector) => selector.trim()).filter(Boolean);
}

/** The classes that a style sheet defines. @param {string} file */
function definedIn(file) {
  return new Set(selectorsOf(file).flatMap((selector) => [...selector.matchAll(/\.([A-Za-z]\w*)/g)].map(([, name]) => name)));
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

test("each rule of a screen or a part is about a class of its own", () => {
  const wrong = styles().flatMap((file) =>
    selectorsOf(file).filter((selector) => !/\.[A-Za-z]/.test(selector)).map((selector) => `${selector} in ${file}`),
  );
  assert.deepEqual(wrong, []);
});
