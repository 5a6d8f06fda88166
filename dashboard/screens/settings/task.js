import { useState } from "preact/hooks";

import { problemOf } from "../../api.js";

/**
 * Runs a request on a user action, one at a time. Its problem stays until the next attempt.
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
