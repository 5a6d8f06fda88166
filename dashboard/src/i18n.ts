/**
 * All texts. Each file `texts/<language>/<section>.ts` exports a flat object, and `texts/<language>/index.ts` all sections of the language,
 * which are loaded together.
 *
 * A text can contain `{names}`, which are replaced by the values passed to `t`; numbers are formatted in the chosen language. A text that
 * counts is an object of plural forms, selected by the value `n`.
 */
import { number, pluralForm } from "./format";
import { keep, textsOf, type Language } from "./languages";
import { language } from "./settings";

export type Text = string | ({ [form in Intl.LDMLPluralRule]?: string } & { other: string });

/** The texts of a language, by section and by the rest of the key. */
export type Texts = Record<string, Record<string, Text>>;

let texts: Texts = {};

/** Loads the texts of the chosen language. */
export async function loadTexts() {
  texts = await textsOf(language.peek());
}

/** Switches to another language, once its texts are loaded. */
export async function useLanguage(chosen: Language) {
  texts = await textsOf(chosen);
  language.value = chosen;
  keep("language", chosen);
}

/** Returns the text of a key. The part before the first dot is its section. */
export function t(key: string, values: Record<string, string | number> = {}) {
  const text = find(key);
  if (text === undefined) return key;
  return formOf(text, values.n).replace(/\{(\w+)\}/g, (_, name) => formatted(values[name]));
}

/** True if there is a text for the key. For keys built from values of the service, which may get new values. */
export function has(key: string) {
  return find(key) !== undefined;
}

function find(key: string): Text | undefined {
  const dot = key.indexOf(".");
  return texts[key.slice(0, dot)]?.[key.slice(dot + 1)];
}

function formOf(text: Text, n: string | number | undefined) {
  if (typeof text === "string") return text;
  return text[pluralForm(Number(n))] ?? text.other;
}

function formatted(value: string | number | undefined) {
  return typeof value === "number" ? number(value) : (value ?? "");
}
