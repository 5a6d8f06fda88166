import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { classes } from "../classes";
import { t } from "../i18n";
import { hasMoved } from "../location";
import { Icon } from "./icon";
import css from "./page.module.css";

/**
 * The layout of every screen: its heading, which takes the focus when the screen is opened, and the title of the window.
 * @param props `note` is shown under the heading, `actions` beside it; a page that fills the window has one `fill` table that scrolls
 */
export function Page({
  title,
  note,
  back,
  actions,
  fill = false,
  children,
}: {
  title: string;
  note?: ComponentChildren;
  back?: { href: string; title: string };
  actions?: ComponentChildren;
  fill?: boolean;
  children: ComponentChildren;
}) {
  const heading = useRef<HTMLHeadingElement | null>(null);
  useEffect(() => {
    if (hasMoved()) heading.current?.focus({ preventScroll: true });
  }, []);
  useEffect(() => {
    document.title = `${title} · ${t("common.product")}`;
  }, [title]);
  return (
    <div class={classes(css.page, fill && css.fill)}>
      <header class={css.pageHead}>
        <div class={css.pageTitle}>
          {back && (
            <a class={css.back} href={back.href}>
              <Icon name="back" />
              <span>{back.title}</span>
            </a>
          )}
          <h1 ref={heading} tabindex={-1}>
            {title}
          </h1>
          {note && <div class={css.note}>{note}</div>}
        </div>
        {actions && <div class={css.pageActions}>{actions}</div>}
      </header>
      {children}
    </div>
  );
}
