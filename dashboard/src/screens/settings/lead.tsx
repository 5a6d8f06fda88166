import type { ComponentChildren } from "preact";

import css from "../settings.module.css";

/** The introduction of a tab and its main action. */
export function Lead({ text, action }: { text: ComponentChildren; action?: ComponentChildren }) {
  return (
    <div class={css.lead}>
      <p class="soft">{text}</p>
      {action}
    </div>
  );
}
