import { useEffect, useRef, useState } from "preact/hooks";

import { useTask } from "./task";

/**
 * The state of a form in a dialog. Errors are shown after the first attempt to submit, and the first invalid field takes the focus.
 * @param places the pointers of errors that the fields show; `problem` is returned only if it has others
 */
export function useForm(places: string[]) {
  const { busy, problem, run } = useTask();
  const [tries, setTries] = useState(0);
  const body = useRef<HTMLDivElement | null>(null);
  useEffect(() => {
    (body.current?.querySelector("[aria-invalid=true]") as HTMLElement | null | undefined)?.focus();
  }, [tries, problem]);
  /** @param valid result of the validation in the browser */
  const submit = (valid: boolean, send: () => Promise<unknown>) => {
    setTries(tries + 1);
    if (valid) void run(send);
  };
  const fault = (place: string) => problem?.errors.find(({ pointer }) => pointer === place || pointer.startsWith(`${place}/`))?.detail;
  const isShownByFields = problem?.errors.every(({ pointer }) =>
    places.some((place) => pointer === place || pointer.startsWith(`${place}/`)),
  );
  const placed = isShownByFields && problem && problem.errors.length > 0;
  return { busy, body, tried: tries > 0, submit, fault, problem: placed ? null : problem };
}
