import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect } from "preact/hooks";

import { t } from "../i18n.js";
import { toast } from "./toast.js";

/** Delay before the modules are loaded. By then even a slow laptop shows the screen. */
const AFTERWARDS_MS = 3_000;

/**
 * Wraps a component that no screen shows at first, such as a dialog. Its module is loaded after those of the screen. If it can't be
 * loaded, a toast says so and `onClose` of the component is called.
 * @param {() => Promise<(props: any) => any>} load
 */
export function later(load) {
  const loaded = signal(/** @type {((props: any) => any) | null} */ (null));
  const start = async () => {
    loaded.value ??= await load();
  };
  setTimeout(() => {
    // A failure is reported when the component is rendered.
    if (!document.hidden) start().catch(() => {});
  }, AFTERWARDS_MS);

  return function Later(/** @type {any} */ props) {
    useEffect(() => {
      start().catch(() => {
        toast(t("common.problem.offline"), "bad");
        props.onClose();
      });
    }, []);
    return loaded.value && html`<${loaded.value} ...${props} />`;
  };
}
