/** The preferences of the user: language and theme. They are the only data in the local storage. */
import { effect, signal } from "@preact/signals";

import { firstLanguage, keep, kept, type Language } from "./languages";

export type Theme = "system" | "light" | "dark";

/** The chosen language. Set it with `useLanguage` of i18n.ts, which loads the texts first. */
export const language = signal<Language>(firstLanguage());

export const theme = signal<Theme>(firstTheme());

effect(() => {
  document.documentElement.lang = language.value;
});

effect(() => {
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
});

export function chooseTheme(chosen: Theme) {
  theme.value = chosen;
  keep("theme", chosen);
}

/**
 * Resolves a custom property to its color in the current theme, for drawing on a canvas. The property itself has the colors of both themes.
 * @param property such as `--accent`
 */
export function paint(property: string) {
  const probe = document.createElement("i");
  probe.style.color = `var(${property})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function firstTheme() {
  const wanted = kept("theme");
  return wanted === "light" || wanted === "dark" ? wanted : "system";
}
