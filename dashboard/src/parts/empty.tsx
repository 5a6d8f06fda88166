import type { ComponentChildren } from "preact";

import { Icon, type IconName } from "./icon";
import css from "./empty.module.css";

/** The placeholder of an empty list: no data yet, or no matches, with an action that helps. */
export function Empty({ icon, title, text, action }: { icon: IconName; title: string; text?: string; action?: ComponentChildren }) {
  return (
    <div class={css.empty}>
      <Icon name={icon} />
      <p class={css.emptyTitle}>{title}</p>
      {text && <p>{text}</p>}
      {action && <div class={css.emptyAction}>{action}</div>}
    </div>
  );
}
