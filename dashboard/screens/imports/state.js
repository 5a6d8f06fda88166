/** The state of an import and its label. */

/** @param {{ status: string }} one */
export function isRunning({ status }) {
  return status === "queued" || status === "inProgress";
}

/**
 * @param {any} one
 * @returns {{ word: string, kind: "neutral" | "good" | "warn" | "bad" | "info" }} `word` is the last part of a text key `imports.state.*`
 */
export function stateOf({ status, mode, undoneAt, success, errors }) {
  if (status === "queued") return { word: "queued", kind: "neutral" };
  if (status === "inProgress") return { word: "inProgress", kind: "info" };
  if (status === "error") return { word: "error", kind: "bad" };
  if (status === "cancelled") return { word: "cancelled", kind: "neutral" };
  if (undoneAt) return { word: "undone", kind: "neutral" };
  if (mode === "validate") return { word: "checked", kind: "info" };
  if (errors === 0) return { word: "finished", kind: "good" };
  return success === 0 ? { word: "none", kind: "bad" } : { word: "partly", kind: "warn" };
}

/** True if an import has codes that an undo could withdraw. @param {any} one */
export function canBeUndone({ status, mode, undoneAt, success }) {
  return status === "finished" && mode === "import" && !undoneAt && success > 0;
}
