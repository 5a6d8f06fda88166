/** What webhooks are told. */
import { has, t } from "../../i18n.js";

export const EVENTS = ["coupon.assigned", "coupon-set.low-stock", "coupon-set.exhausted", "coupon-set.refilled", "import.finished"];

/** A service that is newer than this page may have events that it has no name for. @param {string} type */
export function titleOf(type) {
  const key = `webhooks.event.${type}`;
  return has(key) ? t(key) : type;
}
