/** The files of the dashboard in the repository. */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const dashboard = new URL("../../../dashboard/", import.meta.url);

/** All modules except the texts. */
export function sources() {
  return readdirSync(dashboard, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".js") && !name.startsWith("texts/"))
    .map((name) => fileURLToPath(new URL(name, dashboard)));
}

/**
 * All texts of a language, by "section.key".
 * @param {string} language
 * @returns {Promise<Record<string, import("../../../dashboard/i18n.js").Text>>}
 */
export async function textsOf(language) {
  const folder = new URL(`texts/${language}/`, dashboard);
  const sections = await Promise.all(
    readdirSync(folder).map(async (name) => {
      const { default: texts } = await import(new URL(name, folder).href);
      return Object.entries(texts).map(([key, text]) => [`${name.replace(".js", "")}.${key}`, text]);
    }),
  );
  return Object.fromEntries(sections.flat());
}
