import type { Import } from "../../schemas";

/** The state of an import and its label. */

export function isRunning({ status }: { status: string }) {
  return status === "queued" || status === "inProgress";
}

/** @returns `word` is the last part of a text key `imports.state.*` */
export function stateOf({ status, mode, undoneAt, success, errors }: Pick<Import, "status" | "mode" | "undoneAt" | "success" | "errors">): {
  word: string;
  kind: "neutral" | "good" | "warn" | "bad" | "info";
} {
  if (status === "queued") return { word: "queued", kind: "neutral" };
  if (status === "inProgress") return { word: "inProgress", kind: "info" };
  if (status === "error") return { word: "error", kind: "bad" };
  if (status === "cancelled") return { word: "cancelled", kind: "neutral" };
  if (undoneAt) return { word: "undone", kind: "neutral" };
  if (mode === "validate") return { word: "checked", kind: "info" };
  if (errors === 0) return { word: "finished", kind: "good" };
  return success === 0 ? { word: "none", kind: "bad" } : { word: "partly", kind: "warn" };
}

/** True if an import has codes that an undo could withdraw. */
export function canBeUndone({ status, mode, undoneAt, success }: Pick<Import, "status" | "mode" | "undoneAt" | "success" | "errors">) {
  return status === "finished" && mode === "import" && !undoneAt && success > 0;
}
