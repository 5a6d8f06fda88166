/**
 * The first script of the page. It is small, so that it runs early: it requests the data and the texts of the first screen while the
 * code is still loading, and reloads the page if one of its files is missing.
 */
import "./ahead";

import { firstLanguage, textsOf } from "./languages";
import { reload, STARTED } from "./reload";

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

// A failure is reported by the application, which needs the texts too.
void textsOf(firstLanguage()).catch(() => {});

if (document.readyState === "complete") check();
else addEventListener("load", check);

/** By the time of the `load` event all scripts and style sheets of the page have been loaded, or are missing. */
function check() {
  const sheets = [...document.querySelectorAll<HTMLLinkElement>("link[rel=stylesheet]")];
  const isComplete = STARTED in document.documentElement.dataset && sheets.every(({ sheet }) => sheet !== null);
  if (isComplete) return;
  const message = reload() ? MESSAGES.waiting : MESSAGES.missing;
  const place = document.getElementById("app");
  if (place) place.textContent = message[firstLanguage()];
}
