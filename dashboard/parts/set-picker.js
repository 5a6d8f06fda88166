import { html } from "htm/preact";
import { useEffect, useId, useState } from "preact/hooks";

import { path } from "../address.js";
import { useGet, useSettled } from "../hooks.js";
import { t } from "../i18n.js";
import { Button } from "./button.js";
import { Field } from "./field.js";

const SHOWN = 20;

/** @typedef {{ id: string, name: string, type: "single" | "multiple" }} PickedSet */

/**
 * A combobox that finds a coupon set by a part of its name.
 * @param {{
 *   label: string,
 *   value: string | null,
 *   onChange: (set: PickedSet | null) => void,
 *   type?: "single" | "multiple",
 *   without?: string,
 *   hint?: any,
 *   fault?: string | null,
 *   hideLabel?: boolean,
 *   placeholder?: string,
 * }} props `value` is the id of the picked set, `without` the id of a set that is not offered, `placeholder` the text without a set
 */
export function SetPicker({ label, value, onChange, type, without, hint, fault, hideLabel, placeholder }) {
  const id = useId();
  const [typed, setTyped] = useState(/** @type {string | null} */ (null));
  const [active, setActive] = useState(0);
  const q = useSettled(typed ?? "", 150);
  const picked = useGet(value && path`/v1/coupon-sets/${value}`).value;
  const found = useGet(typed === null ? null : "/v1/coupon-sets", { q, type, sort: "name", limit: SHOWN }).value;
  const sets = /** @type {PickedSet[]} */ (found?.results ?? []).filter((set) => set.id !== without);

  // The list can be longer than its box, and a dialog can cut it off.
  useEffect(() => {
    if (typed === null || !sets[active]) return;
    for (const part of ["list", sets[active].id]) document.getElementById(`${id}-${part}`)?.scrollIntoView({ block: "nearest" });
  }, [typed === null, sets[active]?.id]);

  /** @param {PickedSet} set */
  const pick = (set) => {
    onChange(set);
    setTyped(null);
  };
  /** @param {KeyboardEvent} event */
  const press = (event) => {
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
  /** @param {any} event */
  const take = (event) => {
    setTyped(event.currentTarget.value);
    setActive(0);
  };
  return html`
    <${Field} ...${{ label, hint, fault, hideLabel }}>
      ${(/** @type {object} */ attributes) => html`
        <div class="picker">
          <input type="text" role="combobox" autocomplete="off" spellcheck=${false} ...${attributes}
            aria-expanded=${String(typed !== null)} aria-controls="${id}-list" aria-autocomplete="list"
            aria-activedescendant=${typed !== null && sets[active] ? `${id}-${sets[active].id}` : undefined}
            placeholder=${placeholder ?? t("common.picker.none")} value=${typed ?? (value ? (picked?.name ?? "…") : "")}
            onClick=${() => setTyped(typed ?? "")} onInput=${take} onKeyDown=${press} onBlur=${() => setTyped(null)} />
          ${value && html`<${Button} kind="quiet" icon="close" label=${t("common.clear")} onClick=${() => onChange(null)} />`}
          <ul id="${id}-list" role="listbox" aria-label=${t("common.area.coupon-sets")} hidden=${typed === null || sets.length === 0}>
            ${sets.map((set, i) => html`
              <li key=${set.id} id="${id}-${set.id}" role="option" aria-selected=${String(i === active)}
                onPointerDown=${(/** @type {Event} */ event) => event.preventDefault()} onClick=${() => pick(set)}>
                <span>${set.name}</span><span class="soft">${t(`common.type.${set.type}`)}</span>
              </li>
            `)}
          </ul>
          ${typed !== null && found && sets.length === 0 && html`<p class="hint" role="status">${t("common.picker.nothing")}</p>`}
        </div>
      `}
    <//>
  `;
}
