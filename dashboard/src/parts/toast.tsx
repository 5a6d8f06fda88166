import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { t } from "../i18n";
import { Button } from "./button";
import { Icon } from "./icon";
import css from "./toast.module.css";

const LASTS_MS = 6_000;

export type Message = { id: number; text: string; kind: "good" | "bad" };

const messages = signal<Message[]>([]);
let count = 0;

/** Shows a toast: a message that disappears by itself. Not for messages that need an answer or must not be missed. */
export function toast(text: string, kind: "good" | "bad" = "good") {
  const id = (count += 1);
  messages.value = [...messages.value, { id, text, kind }];
  setTimeout(() => dismiss(id), LASTS_MS);
}

function dismiss(id: number) {
  messages.value = messages.value.filter((message) => message.id !== id);
}

/** The live region of the toasts. It is rendered from the start, else screen readers would miss the first toast. */
export function Toasts() {
  const region = useRef<HTMLDivElement | null>(null);
  // A popover is above the dialogs that were opened before it, so each message opens it again.
  useEffect(
    () =>
      messages.subscribe(() => {
        region.current?.hidePopover();
        region.current?.showPopover();
      }),
    [],
  );
  return (
    <div class={css.toasts} role="status" aria-live="polite" popover="manual" ref={region}>
      {messages.value.map(({ id, text, kind }) => (
        <div class={`${css.toast} ${css[kind]}`} data-part="toast" key={id}>
          <Icon name={kind === "good" ? "check" : "warning"} />
          <span>{text}</span>
          <Button kind="quiet" icon="close" label={t("common.close")} onClick={() => dismiss(id)} />
        </div>
      ))}
    </div>
  );
}
