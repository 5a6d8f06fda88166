import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";

/** By then even a slow laptop shows the screen. */
const AFTERWARDS_MS = 3_000;

/**
 * A component that no screen shows at first, such as a dialog. So its module is loaded after those that a screen begins with.
 * @param {() => Promise<(props: any) => any>} load
 */
export function later(load) {
  const loaded = signal(/** @type {((props: any) => any) | null} */ (null));
  const start = async () => {
    loaded.value ??= await load();
  };
  setTimeout(() => {
    // If that fails it is told when somebody wants the component.
    if (!document.hidden) start().catch(() => {});
  }, AFTERWARDS_MS);

  return function Later(/** @type {any} */ props) {
    const [failure, setFailure] = useState(/** @type {unknown} */ (null));
    useEffect(() => void start().catch(setFailure), []);
    if (failure) throw failure;
    return loaded.value && html`<${loaded.value} ...${props} />`;
  };
}
