/**
 * The first script of the page. It is small, so that it runs early: it requests the data and the texts of the first screen while the
 * code is still loading, and loads the page again if one of its files is missing.
 */
import "./ahead";

import { firstLanguage, textsOf } from "./languages";
import { recover, STARTED } from "./reload";

// The application needs the texts too, and reports a failure.
void textsOf(firstLanguage()).catch(() => {});

if (document.readyState === "complete") check();
else addEventListener("load", check);

/** By the time of the `load` event all scripts and style sheets of the page have been loaded, or are missing. */
function check() {
  // A missing sheet can be there without rules.
  const sheets = [...document.querySelectorAll<HTMLLinkElement>("link[rel=stylesheet]")];
  const isComplete = STARTED in document.documentElement.dataset && sheets.every(({ sheet }) => sheet !== null && sheet.cssRules.length > 0);
  if (!isComplete) recover();
}
