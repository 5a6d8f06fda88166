import { useState } from "preact/hooks";

import { problemOf } from "../../api.js";

/**
 * Something that is sent when a person asks for it, once at a time. What went wrong stays until it is tried again.
 * @returns {{ busy: boolean, problem: import("../../api.js").Problem | null, run: (work: () => Promise<unknown>) => Promise<void> }}
 */
export function useTask() {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {import("../../api.js").Problem | null} */ (null));
  /** @param {() => Promise<unknown>} work */
  const run = async (work) => {
    if (busy) return;
    setBusy(true);
    setProblem(null);
    try {
      await work();
    } catch (failure) {
      setProblem(problemOf(failure));
    }
    setBusy(false);
  };
  return { busy, problem, run };
}
