import type { ComponentChildren } from "preact";
import { useId, useRef, useState } from "preact/hooks";

import { classes } from "../classes";
import { Button } from "./button";
import { Icon, type IconName } from "./icon";
import css from "./menu.module.css";

export type Item = {
  title: string;
  icon?: IconName;
  href?: string;
  /** the link downloads a file, so that an error response does not replace the page */
  download?: boolean;
  onSelect?: () => void;
  danger?: boolean;
};

/**
 * A button that opens a list of actions.
 * @param props `label` names a button without children; items that are false are left out
 */
export function Menu({
  label,
  icon = "more",
  items,
  kind = "quiet",
  children,
}: {
  label: string;
  icon?: IconName;
  items: (Item | false)[];
  kind?: "plain" | "quiet";
  children?: ComponentChildren;
}) {
  return (
    <Popup role="menu" label={label} icon={icon} kind={kind} title={children}>
      {(close: () => void) =>
        items
          .filter((item) => item !== false)
          .map((item) => {
            const content = (
              <>
                {item.icon && <Icon name={item.icon} />}
                <span>{item.title}</span>
              </>
            );
            const style = classes(css.item, item.danger && css.danger);
            if (item.href) {
              return (
                <a role="menuitem" tabindex={-1} class={style} href={item.href} download={item.download ? "" : undefined} onClick={close}>
                  {content}
                </a>
              );
            }
            const select = () => {
              close();
              item.onSelect?.();
            };
            return (
              <button type="button" role="menuitem" tabindex={-1} class={style} onClick={select}>
                {content}
              </button>
            );
          })
      }
    </Popup>
  );
}

/** A button that opens a popover, which Escape or a click elsewhere closes. */
export function Popup({
  label,
  role = "dialog",
  icon,
  kind = "quiet",
  title,
  children,
}: {
  label: string;
  role?: "menu" | "dialog";
  icon?: IconName;
  kind?: "plain" | "quiet";
  title?: ComponentChildren;
  children: (close: () => void) => ComponentChildren;
}) {
  const id = useId();
  const box = useRef<HTMLDivElement | null>(null);
  const [open, setOpen] = useState(false);
  const button = () => document.getElementById(`${id}-button`) as HTMLElement;
  const close = () => {
    box.current?.hidePopover();
    button().focus();
  };
  // The content is rendered before the popover is shown, because its position depends on its size. It is removed after the popover is
  // hidden, so that the browser can restore the focus.
  const toggling = (event: ToggleEvent) => {
    if (event.newState === "open") setOpen(true);
  };
  const toggled = (event: ToggleEvent) => {
    if (event.newState !== "open") return setOpen(false);
    if (!box.current) return;
    place(box.current, button());
    controls(box.current)[0]?.focus();
  };
  const move = (event: KeyboardEvent) => {
    if (role !== "menu" || !box.current) return;
    if (event.key === "Tab") return close();
    const items = controls(box.current);
    const here = items.indexOf(document.activeElement as HTMLElement);
    const there = { ArrowDown: here + 1, ArrowUp: here - 1 + items.length, Home: 0, End: items.length - 1 }[event.key];
    if (there === undefined) return;
    event.preventDefault();
    items[there % items.length].focus();
  };
  return (
    <>
      <Button
        id={`${id}-button`}
        kind={kind}
        icon={icon}
        label={title ? undefined : label}
        popovertarget={id}
        aria-haspopup={role}
        aria-expanded={open}
      >
        {title}
      </Button>
      <div
        id={id}
        ref={box}
        class={css.popup}
        popover="auto"
        role={role}
        aria-label={label}
        onBeforeToggle={toggling}
        onToggle={toggled}
        onKeyDown={move}
      >
        {open && children(close)}
      </div>
    </>
  );
}

function controls(box: HTMLElement) {
  return [...box.querySelectorAll("a, button, input, select")] as HTMLElement[];
}

/** Places the popover below its button and inside the window, or above the button if there is no room below. */
function place(box: HTMLElement, button: HTMLElement) {
  const anchor = button.getBoundingClientRect();
  const { width, height } = box.getBoundingClientRect();
  const left = Math.min(Math.max(anchor.right - width, 8), innerWidth - width - 8);
  const below = anchor.bottom + 4;
  const top = below + height > innerHeight - 8 ? Math.max(anchor.top - height - 4, 8) : below;
  Object.assign(box.style, { left: `${left}px`, top: `${top}px`, visibility: "visible" });
}
