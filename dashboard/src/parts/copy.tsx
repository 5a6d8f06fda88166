import type { ComponentChildren } from "preact";

import { t } from "../i18n";
import { Button } from "./button";
import { toast } from "./toast";
import layout from "./layout.module.css";
import css from "./copy.module.css";

/**
 * A button that copies a text to the clipboard.
 * @param props with children it has a caption, else only an icon
 */
export function Copy({
  text,
  label,
  kind,
  onCopied,
  children,
}: {
  text: string;
  label?: string;
  kind?: "primary" | "plain" | "quiet";
  onCopied?: () => void;
  children?: ComponentChildren;
}) {
  const copy = async () => {
    const done = await copyText(text);
    if (done) onCopied?.();
    toast(t(done ? "common.copied" : "common.notCopied"), done ? "good" : "bad");
  };
  return (
    <Button kind={kind ?? (children ? "plain" : "quiet")} icon="copy" label={label ?? t("common.copy", { text })} onClick={copy}>
      {children}
    </Button>
  );
}

/**
 * A code in a monospaced font, with a button to copy it.
 * @param props with `href` the code is a link
 */
export function Code({ code, href }: { code: string; href?: string }) {
  const text = <code class={layout.code}>{code}</code>;
  return (
    <span class={css.codeLine} data-part="code">
      {href ? <a href={href}>{text}</a> : text}
      <Copy text={code} />
    </span>
  );
}

async function copyText(text: string) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByCommand(text);
  }
}

/** Fallback for pages without TLS, where the clipboard API is missing. */
function copyByCommand(text: string) {
  const focused = document.activeElement as HTMLElement | null;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  (focused?.closest("dialog") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}
