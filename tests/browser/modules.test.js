/** The modules of the dashboard import each other without a circle. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { dashboard, sources } from "./support/sources.js";

/** An import statement, unless it imports types only, or an `import()` that loads a module later. */
const IMPORT = /^import (?!type )[^;]*?"(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/gm;

/** @param {string} file */
function importsOf(file) {
  const matches = readFileSync(file, "utf8").matchAll(IMPORT);
  const paths = [...matches].map(([, now, later]) => fileURLToPath(new URL(now ?? later, pathToFileURL(file))));
  return paths.filter((path) => !path.endsWith(".css")).map((path) => [".ts", ".tsx", "/index.ts"].map((end) => path + end).find(existsSync) ?? path);
}

/**
 * The first circle of imports, as the files along it, or null. A depth-first search that visits each file once.
 * @param {string[]} files
 * @param {(file: string) => string[]} edges
 */
function circleIn(files, edges) {
  const done = new Set();
  /** @type {string[]} */
  const trail = [];
  /** @param {string} file @returns {string[] | null} */
  const visit = (file) => {
    if (done.has(file)) return null;
    if (trail.includes(file)) return [...trail.slice(trail.indexOf(file)), file];
    trail.push(file);
    for (const next of edges(file)) {
      const circle = visit(next);
      if (circle) return circle;
    }
    trail.pop();
    done.add(file);
    return null;
  };
  for (const file of files) {
    const circle = visit(file);
    if (circle) return circle;
  }
  return null;
}

test("no module of the dashboard imports itself through others", () => {
  const files = sources();
  assert.ok(files.flatMap(importsOf).length > files.length, "the imports are found");
  const circle = circleIn(files, importsOf);
  assert.equal(circle && circle.map((file) => file.slice(fileURLToPath(dashboard).length)).join(" → "), null);
});
