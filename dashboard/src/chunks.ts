/** Code that is loaded when it is needed. */
import { lost, Problem } from "./api";
import { reload } from "./reload";

/**
 * Loads a module. If it can't be loaded, that is a `Problem`: the service is unreachable, or the module is gone because the service has
 * been updated since the page was loaded. Then the page is reloaded, unless that would lose unfinished work.
 */
export async function loadModule<Module>(load: () => Promise<Module>): Promise<Module> {
  try {
    return await load();
  } catch {
    if (!(await isReachable())) throw lost();
    if (!hasUnfinishedWork() && reload()) return new Promise(() => {});
    throw new Problem({ code: "updated" });
  }
}

/** True if leaving the page would lose work: a component with such work blocks closing the window. */
export function hasUnfinishedWork() {
  return !dispatchEvent(new Event("beforeunload", { cancelable: true }));
}

async function isReachable() {
  try {
    return (await fetch("../healthz", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}
