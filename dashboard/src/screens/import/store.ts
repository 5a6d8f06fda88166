/**
 * The state of the import wizard. It survives visits to other screens, but only in memory: codes are worth money, and the next user of the
 * computer could read the storage of the browser.
 */
import { computed, effect, signal } from "@preact/signals";

import { t } from "../../i18n";
import { session, signedOutBy } from "../../session";
import { cancelUploads, uploads } from "./uploads";

/** the file or text to import */
/** The set that codes are imported into. Of a set that the key may not read, only the id and perhaps the name are known. */
export type TargetSet = { id: string; name: string; quantity?: number | null };

export type Source = {
  name: string;
  /** is never read completely */
  body: Blob;
  /** true if it can only be a table */
  table: boolean;
};

/** choices of the user that replace the detected format */
export type Reading = {
  as?: "table" | "list";
  delimiter?: string;
  encoding?: string;
  sheet?: string;
};

/** the fields of the columns, which are numbered from 1 */
export type Mapping = {
  as: "table" | "list";
  /** true if the first row has the names of the columns */
  header: boolean;
  code: number | null;
  expires: number | null;
  attributes: number[];
};

/** The chosen file and the pasted text. Each is kept while the other tab is open. */
export const chosen = signal({ kind: "file" as "file" | "text", file: null as File | null, text: "" });
export const reading = signal<Reading>({});
/** Null until the preview is loaded. */
export const mapping = signal<Mapping | null>(null);
export const checkOnly = signal(false);
/** The typed columns of a workbook that is too large for a preview. */
const NO_WORDS = { header: "", code: "", expires: "", attributes: "", sheet: "" };
export const words = signal(NO_WORDS);
/** The choice of the set until it is in the address; null at first. */
export const target = signal<{ kind: string; name: string; id: string | null } | null>(null);
/** The address at which the user left the wizard. */
export const lastAddress = signal("#/import");

const chosenFile = computed(() => (chosen.value.kind === "file" ? chosen.value.file : null));
const chosenText = computed(() => (chosen.value.kind === "text" ? chosen.value.text : ""));

export const source = computed(() => {
  const file = chosenFile.value;
  if (file) return { name: file.name, body: file, table: !/\.txt$/i.test(file.name) } as Source;
  if (chosenText.value.trim() === "") return null;
  return { name: t("import.pasted"), body: new Blob([chosenText.value]), table: false } as Source;
});

export function choose(change: Partial<typeof chosen.value>) {
  chosen.value = { ...chosen.peek(), ...change };
  reading.value = {};
  mapping.value = null;
  words.value = NO_WORDS;
}

/** Changes how the source is read. Its columns can change with it. */
export function read(change: Reading) {
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
let owner = null as string | null;
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
