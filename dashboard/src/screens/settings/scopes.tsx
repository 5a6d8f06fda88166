/** The scopes of keys: their names, and the table that shows them or lets the user choose them. */

import { enumeration } from "../../format";
import { t } from "../../i18n";
import { Icon } from "../../parts/icon";
import { can } from "../../session";
import css from "../settings.module.css";

const RESOURCES = ["coupon-sets", "imports", "assignments", "contacts", "statistics", "workflows", "webhooks", "api-keys"];
const LEVELS = ["read", "write"];

/** All scopes. Statistics can only be read. */
const SCOPES = RESOURCES.flatMap((resource) => LEVELS.map((level) => `${resource}:${level}`)).filter(
  (scope) => scope !== "statistics:write",
);

/** The scopes of this session's key. A new key can have no others. */
export function ownScopes() {
  return SCOPES.filter(can);
}

/** A summary of the scopes of a key. */
export function summaryOf(scopes: string[]) {
  if (scopes.includes("*")) return t("settings.scopes.all");
  const words = RESOURCES.flatMap((resource) => {
    const levels = LEVELS.filter((level) => scopes.includes(`${resource}:${level}`));
    if (levels.length === 0) return [];
    const name = t(`settings.scope.${resource}`);
    return [levels.length === 2 || resource === "statistics" ? name : `${name} (${t(`settings.scopes.only.${levels[0]}`)})`];
  });
  return enumeration(words);
}

/**
 * The table of scopes. With `onChange` it is editable.
 * @param props `offered` are the scopes that have a checkbox
 */
export function ScopeTable({ offered, scopes, onChange }: { offered: string[]; scopes: string[]; onChange?: (scopes: string[]) => void }) {
  const set = (these: string[], checked: boolean) =>
    onChange?.(checked ? [...new Set([...scopes, ...these])] : scopes.filter((scope) => !these.includes(scope)));
  const levels = LEVELS.map((level) => ({ level, these: offered.filter((scope) => scope.endsWith(`:${level}`)) }));
  return (
    <table class={css.scopeTable}>
      <thead>
        <tr>
          <th scope="col">
            <span class="unseen">{t("settings.scopes.what")}</span>
          </th>
          {levels.map(({ level, these }) => (
            <th scope="col" key={level}>
              {onChange && these.length > 0 ? (
                <All label={t(`settings.scopes.${level}`)} name={t(`settings.scopes.every.${level}`)} {...{ these, scopes, set }} />
              ) : (
                t(`settings.scopes.${level}`)
              )}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {RESOURCES.filter((resource) => LEVELS.some((level) => offered.includes(`${resource}:${level}`))).map((resource) => (
          <tr key={resource}>
            <th scope="row">
              {t(`settings.scope.${resource}`)}
              <span class="hint">{t(`settings.scope.${resource}.hint`)}</span>
            </th>
            {LEVELS.map((level) => (
              <td key={level}>
                <Field {...{ resource, level, offered, scopes, set: onChange && set }} />
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The checkbox of a whole column. */
function All({
  label,
  name,
  these,
  scopes,
  set,
}: {
  label: string;
  name: string;
  these: string[];
  scopes: string[];
  set: (these: string[], checked: boolean) => void;
}) {
  const count = these.filter((scope) => scopes.includes(scope)).length;
  const every = count === these.length;
  return (
    <label class={css.scope}>
      <span>{label}</span>
      <input type="checkbox" aria-label={name} checked={every} indeterminate={count > 0 && !every} onChange={() => set(these, !every)} />
    </label>
  );
}

function Field({
  resource,
  level,
  offered,
  scopes,
  set,
}: {
  resource: string;
  level: string;
  offered: string[];
  scopes: string[];
  set?: (these: string[], checked: boolean) => void;
}) {
  const scope = `${resource}:${level}`;
  if (!offered.includes(scope)) return null;
  const checked = scopes.includes(scope);
  if (!set)
    return (
      checked && (
        <>
          <Icon name="check" />
          <span class="unseen">{t("settings.scopes.yes")}</span>
        </>
      )
    );
  const name = `${t(`settings.scope.${resource}`)}: ${t(`settings.scopes.${level}`)}`;
  return (
    <label class={css.scope} title={scope}>
      <input type="checkbox" aria-label={name} checked={checked} onChange={() => set([scope], !checked)} />
    </label>
  );
}
