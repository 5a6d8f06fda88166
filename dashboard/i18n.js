/**
 * All texts. They stand in `texts/<language>/<section>.js`, a flat object for each part of the product; a route of routes.js names
 * the sections that its screen needs, and they are loaded with it. `common` is always there.
 *
 * A text may have `{names}`, which are replaced by the values of `t`; numbers are written as the language writes them. A text that
 * counts is an object of plural forms, chosen by the value `n`.
 */
import { number, pluralForm } from "./format.js";
import { keep, language } from "./settings.js";

/** @typedef {import("./settings.js").Language} Language */
/** @typedef {string | { [form in Intl.LDMLPluralRule]?: string } & { other: string }} Text */

/** @type {Map<string, Record<string, Text>>} */
const loaded = new Map();
/** @type {Set<string>} */
const sections = new Set();

/**
 * Loads sections in the language on the screen.
 * @param {string[]} wanted
 */
export async function loadTexts(wanted) {
  for (const section of wanted) sections.add(section);
  await load(language.peek());
}

/**
 * Shows everything in another language from now on.
 * @param {Language} chosen
 */
export async function useLanguage(chosen) {
  await load(chosen);
  language.value = chosen;
  keep("language", chosen);
}

/** @param {Language} tongue */
async function load(tongue) {
  const missing = [...sections].filter((section) => !loaded.has(`${tongue}/${section}`));
  await Promise.all(
    missing.map(async (section) => {
      const module = await import(`./texts/${tongue}/${section}.js`);
      loaded.set(`${tongue}/${section}`, module.default);
    }),
  );
}

/**
 * The text of a key: what stands before the first dot is its section.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const text = find(key);
  if (text === undefined) return key;
  return formOf(text, values.n).replace(/\{(\w+)\}/g, (_, name) => shown(values[name]));
}

/**
 * Whether there is such a text; for texts that are named by what the service answers, which may learn new words.
 * @param {string} key
 */
export function has(key) {
  return find(key) !== undefined;
}

/** @param {string} key */
function find(key) {
  const dot = key.indexOf(".");
  return loaded.get(`${language.value}/${key.slice(0, dot)}`)?.[key.slice(dot + 1)];
}

/**
 * @param {Text} text
 * @param {string | number | undefined} n
 */
function formOf(text, n) {
  if (typeof text === "string") return text;
  return text[pluralForm(Number(n))] ?? text.other;
}

/** @param {string | number | undefined} value */
function shown(value) {
  return typeof value === "number" ? number(value) : (value ?? "");
}
