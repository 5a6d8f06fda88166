import { useState } from "preact/hooks";

import { problemOf, type Problem } from "../../api";

/** Runs a request on a user action, one at a time. Its problem stays until the next attempt. */
export function useTask(): { busy: boolean; problem: Problem | null; run: (work: () => Promise<unknown>) => Promise<void> } {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = async (work: () => Promise<unknown>) => {
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
