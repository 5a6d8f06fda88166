/** The names of CSS classes, without those whose condition does not hold, as the value of a `class` attribute. */
export function classes(...names: (string | false | null | undefined)[]) {
  return names.filter(Boolean).join(" ");
}
