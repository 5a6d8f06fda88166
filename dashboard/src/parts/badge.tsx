import type { ComponentChildren } from "preact";

import css from "./badge.module.css";

/** A state in one word. The color repeats the word and carries no information of its own. */
export function Badge({
  kind = "neutral",
  children,
}: {
  kind?: "neutral" | "good" | "warn" | "bad" | "info";
  children: ComponentChildren;
}) {
  return (
    <span class={`${css.badge} ${css[kind]}`} data-part="badge">
      {children}
    </span>
  );
}
