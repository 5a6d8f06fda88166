/** The languages and their texts. This module imports no other, because it is part of the first script of the page. */
import type { Texts } from "./i18n";

/** The available languages with their native names. */
export const languages = { en: "English", es: "Español" };

export type Language = keyof typeof languages;

const loaders: Record<Language, () => Promise<{ default: Texts }>> = {
  en: () => import("./texts/en"),
  es: () => import("./texts/es"),
};

/** Loads the texts of a language. A second call gets the same texts. */
export async function textsOf(language: Language): Promise<Texts> {
  return (await loaders[language]()).default;
}

/** The language that the user chose, or else the first one of the browser that is available. */
export function firstLanguage(): Language {
  const wanted = [kept("language"), ...navigator.languages];
  return wanted.map((tag) => tag?.split("-")[0] ?? "").find(isLanguage) ?? "en";
}

/** Stores a preference. If the browser blocks storage, it lasts only until the page is closed. */
export function keep(name: "language" | "theme", value: string) {
  try {
    localStorage.setItem(`couponry.${name}`, value);
  } catch {
    // The preference is lost with the page, which the user needs no message about.
  }
}

/** A stored preference, or null. */
export function kept(name: "language" | "theme") {
  try {
    return localStorage.getItem(`couponry.${name}`);
  } catch {
    return null;
  }
}

function isLanguage(tag: string): tag is Language {
  return tag in languages;
}
