/**
 * All texts. Each file `texts/<language>/<section>.js` exports a flat object. A route in routes.js names the sections that its screen
 * needs, and they are loaded with it. `common` is always loaded.
 *
 * A text can contain `{names}`, which are replaced by the values passed to `t`; numbers are formatted in the chosen language. A text that
 * counts is an object of plural forms, selected by the value `n`.
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
 * Loads sections in the chosen language.
 * @param {string[]} wanted
 */
export async function loadTexts(wanted) {
  for (const section of wanted) sections.add(section);
  await load(language.peek());
}

/**
 * Switches to another language, once its texts are loaded.
 * @param {Language} chosen
 */
export async function useLanguage(chosen) {
  await load(chosen);
  language.value = chosen;
  keep("language", chosen);
}

/** @param {Language} chosen */
async function load(chosen) {
  const missing = [...sections].filter((section) => !loaded.has(`${chosen}/${section}`));
  await Promise.all(
    missing.map(async (section) => {
      const module = await import(`./texts/${chosen}/${section}.js`);
      loaded.set(`${chosen}/${section}`, module.default);
    }),
  );
}

/**
 * Returns the text of a key. The part before the first dot is its section.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const text = find(key);
  if (text === undefined) return key;
  return formOf(text, values.n).replace(/\{(\w+)\}/g, (_, name) => formatted(values[name]));
}

/**
 * True if there is a text for the key. For keys built from values of the service, which may get new values.
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
function formatted(value) {
  return typeof value === "number" ? number(value) : (value ?? "");
}
