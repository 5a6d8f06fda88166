/**
 * What somebody has chosen to import, kept while they look at other screens. It lives in memory alone: codes are worth money, and what
 * is in the browser's storage could be read by whoever uses the machine next.
 */
import { computed, effect, signal } from "@preact/signals";

import { t } from "../../i18n.js";
import { session, signedOutBy } from "../../session.js";
import { cancelUploads, uploads } from "./uploads.js";

/**
 * @typedef {object} Source what is to be imported
 * @property {string} name
 * @property {Blob} body never read as a whole
 * @property {boolean} table whether it can be nothing but a table
 *
 * @typedef {object} Reading how it is read, where the person says otherwise than was detected
 * @property {"table" | "list"} [as]
 * @property {string} [delimiter]
 * @property {string} [encoding]
 * @property {string} [sheet]
 *
 * @typedef {object} Mapping what its columns are, by their numbers from 1
 * @property {"table" | "list"} as
 * @property {boolean} header whether the first row names the columns
 * @property {number | null} code
 * @property {number | null} expires
 * @property {number[]} attributes
 */

/** As a file or as a text; both are kept while the other is looked at. */
export const chosen = signal({ kind: /** @type {"file" | "text"} */ ("file"), file: /** @type {File | null} */ (null), text: "" });
export const reading = signal(/** @type {Reading} */ ({}));
/** Null until the columns were looked at. */
export const mapping = signal(/** @type {Mapping | null} */ (null));
export const checkOnly = signal(false);
/** What is said of the columns of a workbook that is too large to be looked at. */
const SAID_NOTHING = { header: "", code: "", expires: "", attributes: "", sheet: "" };
export const words = signal(SAID_NOTHING);
/** Which set, as long as that is not in the address; null until somebody says it. */
export const target = signal(/** @type {{ kind: string, name: string, id: string | null } | null} */ (null));
/** Where the wizard was left. */
export const whereabouts = signal("#/import");

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
  words.value = SAID_NOTHING;
}

/** Says that something is read otherwise; its columns may then be others. @param {Reading} change */
export function read(change) {
  reading.value = { ...reading.peek(), ...change };
  mapping.value = null;
}

/** Forgets what was chosen, after it was sent or when somebody else signs in. */
export function forget() {
  choose({ file: null, text: "" });
  checkOnly.value = false;
  target.value = null;
}

/** Nobody gets to see what somebody else has chosen. */
let owner = /** @type {string | null} */ (null);
effect(() => {
  const user = session.value;
  if (user && owner !== null && owner !== user.keyId) leave();
  if (user) owner = user.keyId;
  // Why the session ended is known a moment later.
  else queueMicrotask(() => session.peek() === null && signedOutBy.peek() !== "expiry" && leave());
});

function leave() {
  cancelUploads();
  forget();
}

/** Closing the window is what loses it. */
addEventListener("beforeunload", (event) => {
  if (source.peek() || uploads.peek().length > 0) event.preventDefault();
});
