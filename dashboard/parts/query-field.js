import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { useSettled } from "../hooks.js";
import { SearchField } from "./field.js";

/** As long as it takes to type the next letter. */
const TYPING_MS = 250;

/**
 * A field to filter by. What was typed is told when it rests; what is set from outside, as by going back, stands in it at once.
 * @param {{ label: string, value: string, onChange: (value: string) => void, [more: string]: any }} props
 */
export function QueryField({ label, value, onChange, ...rest }) {
  const [typed, setTyped] = useState(value);
  const settled = useSettled(typed.trim(), TYPING_MS);
  const told = useRef(value);
  useEffect(() => {
    if (settled === told.current) return;
    told.current = settled;
    onChange(settled);
  }, [settled]);
  useEffect(() => {
    if (value === told.current) return;
    told.current = value;
    setTyped(value);
  }, [value]);
  return html`<${SearchField} label=${label} value=${typed} onChange=${setTyped} ...${rest} />`;
}
