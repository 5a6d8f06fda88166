/**
 * The preferences of the user: language and theme. They are the only data in the local storage.
 */
import { effect, signal } from "@preact/signals";

/** The available languages with their native names. */
export const languages = { en: "English", es: "Español" };

/** @typedef {keyof typeof languages} Language */
/** @typedef {"system" | "light" | "dark"} Theme */

/** The chosen language. Set it with `useLanguage` of i18n.js, which loads the texts first. */
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
 * Resolves a custom property to its color in the current theme, for drawing on a canvas. The property itself has the colors of both themes.
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
 * Stores a preference. If the browser blocks storage, it lasts only until the page is closed.
 * @param {"language" | "theme"} name
 * @param {string} value
 */
export function keep(name, value) {
  try {
    localStorage.setItem(`couponry.${name}`, value);
  } catch {
    // The preference is lost with the page, which the user needs no message about.
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
