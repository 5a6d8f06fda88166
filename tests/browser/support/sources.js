/** The sources of the dashboard in the repository. */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { runnerImport } from "../../../dashboard/node_modules/vite/dist/node/index.js";

export const dashboard = new URL("../../../dashboard/src/", import.meta.url);

/** All modules except the texts and the generated types. */
export function sources() {
  return readdirSync(dashboard, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name) && !name.startsWith("texts/") && name !== "api-types.ts")
    .map((name) => fileURLToPath(new URL(name, dashboard)));
}

/** All style sheets that are CSS modules. */
export function styles() {
  return readdirSync(dashboard, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".module.css"))
    .map((name) => fileURLToPath(new URL(name, dashboard)));
}

/**
 * Imports a module, which is TypeScript.
 * @param {string} name such as `screens/import/rows.ts`
 * @returns {Promise<any>}
 */
export async function load(name) {
  const { module } = await runnerImport(fileURLToPath(new URL(name, dashboard)), { configFile: false, logLevel: "error" });
  return module;
}

/**
 * All texts of a language, by "section.key".
 * @param {string} language
 * @returns {Promise<Record<string, string | Record<string, string>>>}
 */
export async function textsOf(language) {
  const { default: sections } = await load(`texts/${language}/index.ts`);
  const texts = Object.entries(sections).flatMap(([section, all]) => Object.entries(all).map(([key, text]) => [`${section}.${key}`, text]));
  return Object.fromEntries(texts);
}
