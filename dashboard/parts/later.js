import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect } from "preact/hooks";

import { t } from "../i18n.js";
import { toast } from "./toast.js";

/** By then even a slow laptop shows the screen. */
const AFTERWARDS_MS = 3_000;

/**
 * A dialog, or another component that no screen shows at first. So its module is loaded after those that a screen begins with; where it
 * cannot be had that is said, and `onClose` of the component is called.
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
    useEffect(() => {
      start().catch(() => {
        toast(t("common.problem.offline"), "bad");
        props.onClose();
      });
    }, []);
    return loaded.value && html`<${loaded.value} ...${props} />`;
  };
}
