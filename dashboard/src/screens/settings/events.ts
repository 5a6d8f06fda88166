/** The events of webhooks. */
import { has, t } from "../../i18n";

export const EVENTS = ["coupon.assigned", "coupon-set.low-stock", "coupon-set.exhausted", "coupon-set.refilled", "import.finished"];

/** The title of an event type, or the type itself: a newer service can have events that this page does not know. */
export function titleOf(type: string) {
  const key = `webhooks.event.${type}`;
  return has(key) ? t(key) : type;
}
