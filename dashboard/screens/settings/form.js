import { useEffect, useRef, useState } from "preact/hooks";

import { useTask } from "./task.js";

/** @typedef {import("../../api.js").Problem} Problem */

/**
 * A form in a dialog: its faults are told once somebody has tried to send it, and the first of them takes the focus.
 * @param {string[]} places the pointers of faults that its fields tell; `problem` is what they do not
 */
export function useForm(places) {
  const { busy, problem, run } = useTask();
  const [tries, setTries] = useState(0);
  const body = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    /** @type {HTMLElement | null | undefined} */ (body.current?.querySelector("[aria-invalid=true]"))?.focus();
  }, [tries, problem]);
  /**
   * @param {boolean} valid as far as can be seen here
   * @param {() => Promise<unknown>} send
   */
  const submit = (valid, send) => {
    setTries(tries + 1);
    if (valid) void run(send);
  };
  const fault = (/** @type {string} */ place) => problem?.errors.find(({ pointer }) => pointer === place || pointer.startsWith(`${place}/`))?.detail;
  const told = problem?.errors.every(({ pointer }) => places.some((place) => pointer === place || pointer.startsWith(`${place}/`)));
  const placed = told && problem && problem.errors.length > 0;
  return { busy, body, tried: tries > 0, submit, fault, problem: placed ? null : problem };
}
