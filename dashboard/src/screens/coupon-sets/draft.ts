/** The state of the form of a set, as typed, and its conversion to and from the API. */
import { t } from "../../i18n";
import { dayAndTime } from "../../moment";
import type { CouponSet } from "../../schemas";

export type Draft = {
  type: "single" | "multiple";
  name: string;
  code: string;
  limited: boolean;
  quantity: string;
  /** last valid day, or an empty string */
  day: string;
  /** on that day, or an empty string for its end */
  time: string;
  timezone: string;
  validForDays: string;
  lowStockThreshold: string;
  childCouponSetId: string | null;
  onRepeat: "newCode" | "sameCode" | "refuse";
  sameCodeUntil: "used" | "expired" | "always";
  assignmentsPerContact: string;
  uniqueInTenant: boolean;
  ignoreCase: boolean;
};

/** The limits of the service for numbers. */
const BOUNDS = {
  quantity: [1, 2_147_483_647],
  validForDays: [1, 3_650],
  lowStockThreshold: [0, 2_147_483_647],
  assignmentsPerContact: [1, 1_000_000],
};

export function emptyDraft(): Draft {
  return {
    type: "multiple",
    name: "",
    code: "",
    limited: true,
    quantity: "",
    day: "",
    time: "",
    timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    validForDays: "",
    lowStockThreshold: "",
    childCouponSetId: null,
    onRepeat: "newCode",
    sameCodeUntil: "always",
    assignmentsPerContact: "",
    uniqueInTenant: false,
    ignoreCase: false,
  };
}

export function draftOf(set: CouponSet): Draft {
  const text = (n: number | null) => (n === null ? "" : String(n));
  return {
    type: set.type,
    name: set.name,
    code: set.code ?? "",
    limited: set.quantity !== null,
    quantity: text(set.quantity),
    ...dayAndTime(set.expiresAt, set.timezone),
    timezone: set.timezone,
    validForDays: text(set.validForDays),
    lowStockThreshold: text(set.lowStockThreshold),
    childCouponSetId: set.childCouponSetId,
    onRepeat: set.onRepeat,
    sameCodeUntil: set.sameCodeUntil,
    assignmentsPerContact: text(set.assignmentsPerContact),
    uniqueInTenant: set.uniqueInTenant,
    ignoreCase: set.ignoreCase,
  };
}

/** Validates a draft without a request. Returns error messages by JSON pointer, as the service does. */
export function faultsOf(draft: Draft) {
  const faults: Record<string, string> = {};
  const single = draft.type === "single";
  if (draft.name.trim() === "") faults["/name"] = t("common.missing.name");
  if (single && draft.code.trim() === "") faults["/code"] = t("common.missing.code");
  if (single && draft.limited && draft.quantity.trim() === "") faults["/quantity"] = t("common.missing.number");
  for (const [name, [from, to]] of Object.entries(BOUNDS)) {
    if (name === "quantity" && !(single && draft.limited)) continue;
    const typed = draft[name as keyof typeof BOUNDS].trim();
    const n = Number(typed);
    if (typed !== "" && !(Number.isInteger(n) && n >= from && n <= to)) faults[`/${name}`] = t("common.wholeNumber", { from, to });
  }
  if (draft.time && !draft.day) faults["/expiresAt"] = t("sets.expiresAt.noDay");
  return faults;
}

export function newSetOf(draft: Draft) {
  const { uniqueInTenant, ignoreCase, quantity, ...settings } = settingsOf(draft);
  return draft.type === "single"
    ? { ...settings, type: draft.type, code: draft.code, quantity }
    : { ...settings, type: draft.type, uniqueInTenant, ignoreCase };
}

/** The changes of the user as a patch. */
export function patchOf(set: CouponSet, draft: Draft) {
  const before = settingsOf(draftOf(set));
  const after = settingsOf(draft);
  const names = (Object.keys(after) as (keyof typeof after)[]).filter((name) => after[name] !== before[name]);
  // The form shows local time, so in another time zone the same day and time are another instant.
  if (names.includes("timezone") && after.expiresAt !== null && !names.includes("expiresAt")) names.push("expiresAt");
  return Object.fromEntries(names.map((name) => [name, after[name]]));
}

function settingsOf(draft: Draft) {
  const number = (typed: string) => (typed.trim() === "" ? null : Number(typed));
  return {
    name: draft.name.trim(),
    quantity: draft.limited ? number(draft.quantity) : null,
    expiresAt: draft.day ? (draft.time ? `${draft.day}T${draft.time}` : draft.day) : null,
    timezone: draft.timezone.trim() || "UTC",
    validForDays: number(draft.validForDays),
    lowStockThreshold: number(draft.lowStockThreshold),
    childCouponSetId: draft.childCouponSetId,
    onRepeat: draft.onRepeat,
    sameCodeUntil: draft.sameCodeUntil,
    assignmentsPerContact: number(draft.assignmentsPerContact),
    uniqueInTenant: draft.uniqueInTenant,
    ignoreCase: draft.ignoreCase,
  };
}
