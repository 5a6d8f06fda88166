import type { ComponentChildren } from "preact";
import { useEffect, useId, useState } from "preact/hooks";

import { path } from "../address";
import { useGet, useSettled, type Page } from "../hooks";
import { t } from "../i18n";
import type { CouponSet } from "../schemas";
import { Button } from "./button";
import { Field } from "./field";
import css from "./set-picker.module.css";

const SHOWN = 20;

export type PickedSet = { id: string; name: string; type: "single" | "multiple" };

/**
 * A combobox that finds a coupon set by a part of its name.
 * @param props `value` is the id of the picked set, `without` the id of a set that is not offered, `placeholder` the text without a set
 */
export function SetPicker({
  label,
  value,
  onChange,
  type,
  without,
  hint,
  fault,
  hideLabel,
  placeholder,
}: {
  label: string;
  value: string | null;
  onChange: (set: PickedSet | null) => void;
  type?: "single" | "multiple";
  without?: string;
  hint?: ComponentChildren;
  fault?: string | null;
  hideLabel?: boolean;
  placeholder?: string;
}) {
  const id = useId();
  const [typed, setTyped] = useState<string | null>(null);
  const [active, setActive] = useState(0);
  const q = useSettled(typed ?? "", 150);
  const picked = useGet<CouponSet>(value && path`/v1/coupon-sets/${value}`).value;
  const found = useGet<Page<PickedSet>>(typed === null ? null : "/v1/coupon-sets", { q, type, sort: "name", limit: SHOWN }).value;
  const sets = (found?.results ?? []).filter((set) => set.id !== without);

  // The list can be longer than its box, and a dialog can cut it off.
  useEffect(() => {
    if (typed === null || !sets[active]) return;
    for (const part of ["list", sets[active].id]) document.getElementById(`${id}-${part}`)?.scrollIntoView({ block: "nearest" });
  }, [typed === null, sets[active]?.id]);

  const pick = (set: PickedSet) => {
    onChange(set);
    setTyped(null);
  };
  const press = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (typed === null) setTyped("");
      else setActive((active + (event.key === "ArrowDown" ? 1 : sets.length - 1)) % Math.max(sets.length, 1));
    } else if (event.key === "Enter" && typed !== null) {
      event.preventDefault();
      // The shown matches may still be those of a shorter text, so the first one may not be the wanted one.
      if (sets[active] && q === typed) pick(sets[active]);
    } else if (event.key === "Escape" && typed !== null) {
      event.preventDefault();
      event.stopPropagation();
      setTyped(null);
    }
  };
  const take = (event: { currentTarget: HTMLInputElement }) => {
    setTyped(event.currentTarget.value);
    setActive(0);
  };
  return (
    <Field {...{ label, hint, fault, hideLabel }}>
      {(attributes: object) => (
        <div class={css.picker} data-part="picker">
          <input
            type="text"
            role="combobox"
            autocomplete="off"
            spellcheck={false}
            {...attributes}
            aria-expanded={typed !== null}
            aria-controls={`${id}-list`}
            aria-autocomplete="list"
            aria-activedescendant={typed !== null && sets[active] ? `${id}-${sets[active].id}` : undefined}
            placeholder={placeholder ?? t("common.picker.none")}
            value={typed ?? (value ? (picked?.name ?? "…") : "")}
            onClick={() => setTyped(typed ?? "")}
            onInput={take}
            onKeyDown={press}
            onBlur={() => setTyped(null)}
          />
          {value && <Button kind="quiet" icon="close" label={t("common.clear")} onClick={() => onChange(null)} />}
          <ul id={`${id}-list`} role="listbox" aria-label={t("common.area.coupon-sets")} hidden={typed === null || sets.length === 0}>
            {sets.map((set, i) => (
              <li
                key={set.id}
                id={`${id}-${set.id}`}
                role="option"
                aria-selected={i === active}
                onPointerDown={(event: Event) => event.preventDefault()}
                onClick={() => pick(set)}
              >
                <span>{set.name}</span>
                <span class="soft">{t(`common.type.${set.type}`)}</span>
              </li>
            ))}
          </ul>
          {typed !== null && found && sets.length === 0 && (
            <p class="hint" role="status">
              {t("common.picker.nothing")}
            </p>
          )}
        </div>
      )}
    </Field>
  );
}
