/**
 * What a person chooses for this browser: language and theme. Both are kept in local storage, and nothing else ever is.
 */
import { effect, signal } from "@preact/signals";

/** The languages that there are texts for, by their own names. */
export const languages = { en: "English", es: "Español" };

/** @typedef {keyof typeof languages} Language */
/** @typedef {"system" | "light" | "dark"} Theme */

/** The language on the screen. Set it by `useLanguage` of i18n.js, which loads the texts first. */
export const language = signal(/** @type {Language} */ (firstLanguage()));

export const theme = signal(/** @type {Theme} */ (firstTheme()));

effect(() => {
  document.documentElement.lang = language.value;
});

effect(() => {
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
});

/** @param {Theme} chosen */
export function chooseTheme(chosen) {
  theme.value = chosen;
  keep("theme", chosen);
}

/**
 * The color that a custom property has in the theme on the screen, for drawing on a canvas. The property itself has both colors.
 * @param {string} property such as `--accent`
 */
export function paint(property) {
  const probe = document.createElement("i");
  probe.style.color = `var(${property})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/**
 * A browser may forbid storage; then the choice holds for this page alone.
 * @param {"language" | "theme"} name
 * @param {string} value
 */
export function keep(name, value) {
  try {
    localStorage.setItem(`couponry.${name}`, value);
  } catch {
    // There is nothing to do about it, and nothing that anybody must know.
  }
}

/** @param {"language" | "theme"} name */
function kept(name) {
  try {
    return localStorage.getItem(`couponry.${name}`);
  } catch {
    return null;
  }
}

function firstLanguage() {
  const wanted = [kept("language"), ...navigator.languages];
  return wanted.map((tag) => tag?.split("-")[0] ?? "").find((tag) => tag in languages) ?? "en";
}

function firstTheme() {
  const wanted = kept("theme");
  return wanted === "light" || wanted === "dark" ? wanted : "system";
}
