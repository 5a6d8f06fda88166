import type { ComponentChildren } from "preact";

import { classes } from "../classes";
import { Icon, type IconName } from "./icon";
import css from "./button.module.css";

/**
 * A button, or a link that looks like one if it has an `href`. An icon without children needs a `label`.
 * @param props further attributes go to the element; a `busy` button shows progress and ignores clicks
 */
export function Button({
  kind = "plain",
  icon,
  label,
  busy = false,
  href,
  type = "button",
  children,
  onClick,
  class: more = "",
  ...rest
}: {
  kind?: "primary" | "plain" | "quiet" | "danger";
  icon?: IconName;
  label?: string;
  busy?: boolean;
  href?: string;
  type?: "button" | "submit";
  class?: string;
  children?: ComponentChildren;
  onClick?: (event: MouseEvent) => void;
  disabled?: boolean;
  [more: string]: unknown;
}) {
  const content = (
    <>
      {icon && <Icon name={icon} />}
      {children && <span>{children}</span>}
    </>
  );
  const square = Boolean(icon && !children);
  const style = classes(css.button, css[kind], square && css.square, busy && css.busy, more);
  const part = { "data-part": "button", "data-square": square ? "" : undefined };
  if (href)
    return (
      <a class={style} href={href} aria-label={label} title={label} onClick={onClick} {...part} {...rest}>
        {content}
      </a>
    );
  // Not `disabled`, because a disabled button loses the focus.
  return (
    <button
      type={type}
      class={style}
      aria-label={label}
      title={label}
      aria-disabled={busy ? "true" : undefined}
      onClick={busy ? stop : onClick}
      {...part}
      {...rest}
    >
      {content}
    </button>
  );
}

function stop(event: Event) {
  event.preventDefault();
}
