/** The state of the form of a set, as typed, and its conversion to and from the API. */
import { t } from "../../i18n.js";
import { dayAndTime } from "../../moment.js";

/**
 * @typedef {object} Draft
 * @property {"single" | "multiple"} type
 * @property {string} name
 * @property {string} code
 * @property {boolean} limited
 * @property {string} quantity
 * @property {string} day last valid day, or an empty string
 * @property {string} time on that day, or an empty string for its end
 * @property {string} timezone
 * @property {string} validForDays
 * @property {string} lowStockThreshold
 * @property {string | null} childCouponSetId
 * @property {"newCode" | "sameCode" | "refuse"} onRepeat
 * @property {"used" | "expired" | "always"} sameCodeUntil
 * @property {string} assignmentsPerContact
 * @property {boolean} uniqueInTenant
 * @property {boolean} ignoreCase
 */

/** The limits of the service for numbers. */
const BOUNDS = {
  quantity: [1, 2_147_483_647],
  validForDays: [1, 3_650],
  lowStockThreshold: [0, 2_147_483_647],
  assignmentsPerContact: [1, 1_000_000],
};

/** @returns {Draft} */
export function emptyDraft() {
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

/**
 * @param {any} set
 * @returns {Draft}
 */
export function draftOf(set) {
  const text = (/** @type {number | null} */ n) => (n === null ? "" : String(n));
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

/**
 * Validates a draft without a request. Returns error messages by JSON pointer, as the service does.
 * @param {Draft} draft
 */
export function faultsOf(draft) {
  /** @type {Record<string, string>} */
  const faults = {};
  const single = draft.type === "single";
  if (draft.name.trim() === "") faults["/name"] = t("common.missing.name");
  if (single && draft.code.trim() === "") faults["/code"] = t("common.missing.code");
  if (single && draft.limited && draft.quantity.trim() === "") faults["/quantity"] = t("common.missing.number");
  for (const [name, [from, to]] of Object.entries(BOUNDS)) {
    if (name === "quantity" && !(single && draft.limited)) continue;
    const typed = draft[/** @type {keyof typeof BOUNDS} */ (name)].trim();
    const n = Number(typed);
    if (typed !== "" && !(Number.isInteger(n) && n >= from && n <= to)) faults[`/${name}`] = t("common.wholeNumber", { from, to });
  }
  if (draft.time && !draft.day) faults["/expiresAt"] = t("sets.expiresAt.noDay");
  return faults;
}

/** @param {Draft} draft */
export function newSetOf(draft) {
  const { uniqueInTenant, ignoreCase, quantity, ...settings } = settingsOf(draft);
  return draft.type === "single"
    ? { ...settings, type: draft.type, code: draft.code, quantity }
    : { ...settings, type: draft.type, uniqueInTenant, ignoreCase };
}

/**
 * The changes of the user as a patch.
 * @param {any} set
 * @param {Draft} draft
 */
export function patchOf(set, draft) {
  const before = settingsOf(draftOf(set));
  const after = settingsOf(draft);
  const names = /** @type {(keyof typeof after)[]} */ (Object.keys(after)).filter((name) => after[name] !== before[name]);
  // The form shows local time, so in another time zone the same day and time are another instant.
  if (names.includes("timezone") && after.expiresAt !== null && !names.includes("expiresAt")) names.push("expiresAt");
  return Object.fromEntries(names.map((name) => [name, after[name]]));
}

/** @param {Draft} draft */
function settingsOf(draft) {
  const number = (/** @type {string} */ typed) => (typed.trim() === "" ? null : Number(typed));
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
