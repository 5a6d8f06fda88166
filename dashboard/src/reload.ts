/**
 * Reloads of the page because a file of its version is gone. During a rolling upgrade the next request can reach a replica of either
 * version, so that several attempts can be needed.
 */

import { firstLanguage } from "./languages";

/** The data attribute of the root element that the application sets when it runs. */
export const STARTED = "started";

const MESSAGES = {
  waiting: {
    en: "Couponry is being updated. This page loads again by itself.",
    es: "Couponry se está actualizando. Esta página se vuelve a cargar sola.",
  },
  missing: {
    en: "A part of this page could not be loaded. Reload it.",
    es: "No se ha podido cargar una parte de esta página. Vuelve a cargarla.",
  },
};

const KEY = "couponry.reloads";
const MOST = 8;
/** Reloads that are longer ago belong to an earlier upgrade. */
const FORGOTTEN_MS = 60_000;
/** Delay of the first attempt. Each further one waits this much longer. */
const DELAY_MS = 400;

/** Loads a page again that lacks a file, and says so in its place. */
export function recover() {
  const message = reload() ? MESSAGES.waiting : MESSAGES.missing;
  const place = document.getElementById("app");
  if (place) place.textContent = message[firstLanguage()];
}

/** Reloads the page after a while. Returns false if that was tried often enough. */
export function reload() {
  const tried = recent();
  if (tried.length >= MOST) return false;
  try {
    sessionStorage.setItem(KEY, JSON.stringify([...tried, Date.now()]));
  } catch {
    // Without storage the attempts can't be counted, so that there is none.
    return false;
  }
  setTimeout(() => location.reload(), tried.length * DELAY_MS);
  return true;
}

function recent(): number[] {
  try {
    const times: number[] = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return times.filter((time) => time > Date.now() - FORGOTTEN_MS);
  } catch {
    return [];
  }
}
