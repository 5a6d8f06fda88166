import { useEffect, useRef, useState } from "preact/hooks";

import { useSettled } from "../hooks";
import { SearchField } from "./field";

/** Debounce time: about the pause between two keystrokes. */
const TYPING_MS = 250;

/**
 * A filter field. `onChange` gets the typed text after a debounce time. A value set from outside, such as
 * by the Back button, is shown at once.
 */
export function QueryField({
  label,
  value,
  onChange,
  ...rest
}: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  [more: string]: unknown;
}) {
  const [typed, setTyped] = useState(value);
  const settled = useSettled(typed.trim(), TYPING_MS);
  const reported = useRef(value);
  useEffect(() => {
    if (settled === reported.current) return;
    reported.current = settled;
    onChange(settled);
  }, [settled]);
  useEffect(() => {
    if (value === reported.current) return;
    reported.current = value;
    setTyped(value);
  }, [value]);
  return <SearchField label={label} value={typed} onChange={setTyped} {...rest} />;
}
