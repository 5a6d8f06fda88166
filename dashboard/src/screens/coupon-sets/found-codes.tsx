import { path } from "../../address";
import { t } from "../../i18n";
import { Badge } from "../../parts/badge";
import { Icon } from "../../parts/icon";
import type { FoundCode } from "../../schemas";
import css from "../coupon-sets.module.css";

/** The address of the history of a found code. */
export function historyOf(found: FoundCode, searched: string) {
  return path`/codes/${found.coupon?.code ?? searched.trim()}`;
}

/** The sets that contain the searched text as a code. */
export function FoundCodes({ found, code }: { found: FoundCode[]; code: string }) {
  if (found.length === 0) return null;
  return (
    <section class={css.found} aria-label={t("sets.codesFound")}>
      <ul>
        {found.map((one) => (
          <li key={one.couponSet.id}>
            <Icon name="code" />
            <a href={`#${historyOf(one, code)}`}>
              <code>{one.coupon?.code ?? code.trim()}</code>
            </a>
            <span>{t("sets.codeIn", { set: one.couponSet.name })}</span>
            <Status found={one} />
          </li>
        ))}
      </ul>
      <p class="hint">{t("sets.codesFound.hint")}</p>
    </section>
  );
}

function Status({ found }: { found: FoundCode }) {
  const { couponSet, coupon } = found;
  if (couponSet.deletedAt) return <Badge>{t("sets.deletedSet")}</Badge>;
  if (!coupon) return <Badge>{t("common.type.single")}</Badge>;
  return <Badge kind={coupon.status === "available" ? "good" : "neutral"}>{t(`common.status.${coupon.status}`)}</Badge>;
}
