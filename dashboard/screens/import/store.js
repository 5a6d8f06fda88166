/**
 * The state of the import wizard. It survives visits to other screens, but only in memory: codes are worth money, and the next user of the
 * computer could read the storage of the browser.
 */
import { computed, effect, signal } from "@preact/signals";

import { t } from "../../i18n.js";
import { session, signedOutBy } from "../../session.js";
import { cancelUploads, uploads } from "./uploads.js";

/**
 * @typedef {object} Source the file or text to import
 * @property {string} name
 * @property {Blob} body is never read completely
 * @property {boolean} table true if it can only be a table
 *
 * @typedef {object} Reading choices of the user that replace the detected format
 * @property {"table" | "list"} [as]
 * @property {string} [delimiter]
 * @property {string} [encoding]
 * @property {string} [sheet]
 *
 * @typedef {object} Mapping the fields of the columns, which are numbered from 1
 * @property {"table" | "list"} as
 * @property {boolean} header true if the first row has the names of the columns
 * @property {number | null} code
 * @property {number | null} expires
 * @property {number[]} attributes
 */

/** The chosen file and the pasted text. Each is kept while the other tab is open. */
export const chosen = signal({ kind: /** @type {"file" | "text"} */ ("file"), file: /** @type {File | null} */ (null), text: "" });
export const reading = signal(/** @type {Reading} */ ({}));
/** Null until the preview is loaded. */
export const mapping = signal(/** @type {Mapping | null} */ (null));
export const checkOnly = signal(false);
/** The typed columns of a workbook that is too large for a preview. */
const NO_WORDS = { header: "", code: "", expires: "", attributes: "", sheet: "" };
export const words = signal(NO_WORDS);
/** The choice of the set until it is in the address; null at first. */
export const target = signal(/** @type {{ kind: string, name: string, id: string | null } | null} */ (null));
/** The address at which the user left the wizard. */
export const lastAddress = signal("#/import");

const chosenFile = computed(() => (chosen.value.kind === "file" ? chosen.value.file : null));
const chosenText = computed(() => (chosen.value.kind === "text" ? chosen.value.text : ""));

export const source = computed(() => {
  const file = chosenFile.value;
  if (file) return /** @type {Source} */ ({ name: file.name, body: file, table: !/\.txt$/i.test(file.name) });
  if (chosenText.value.trim() === "") return null;
  return /** @type {Source} */ ({ name: t("import.pasted"), body: new Blob([chosenText.value]), table: false });
});

/** @param {Partial<typeof chosen.value>} change */
export function choose(change) {
  chosen.value = { ...chosen.peek(), ...change };
  reading.value = {};
  mapping.value = null;
  words.value = NO_WORDS;
}

/** Changes how the source is read. Its columns can change with it. @param {Reading} change */
export function read(change) {
  reading.value = { ...reading.peek(), ...change };
  mapping.value = null;
}

/** Clears the wizard, after an upload or when another key signs in. */
export function forget() {
  choose({ file: null, text: "" });
  checkOnly.value = false;
  target.value = null;
}

/** The key that the choices belong to. Another key must not see them. */
let owner = /** @type {string | null} */ (null);
effect(() => {
  const user = session.value;
  if (user && owner !== null && owner !== user.keyId) leave();
  if (user) owner = user.keyId;
  // The reason for the end of the session is set a moment later.
  else queueMicrotask(() => session.peek() === null && signedOutBy.peek() !== "expiry" && leave());
});

function leave() {
  cancelUploads();
  forget();
}

/** Asks for confirmation before the window is closed, which loses the choices and the uploads. */
addEventListener("beforeunload", (event) => {
  if (source.peek() || uploads.peek().length > 0) event.preventDefault();
});
