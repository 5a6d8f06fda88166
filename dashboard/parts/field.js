/** Form controls with a label, a hint and an error. All of them pass the new value to `onChange`, not the event. */
import { html } from "htm/preact";
import { useId, useState } from "preact/hooks";

import { t } from "../i18n.js";
import { Button } from "./button.js";
import { Icon } from "./icon.js";

/**
 * The error message of a problem for a field of the body: `faultOf(problem, "/name")`.
 * @param {import("../api.js").Problem | null} problem
 * @param {string} pointer
 */
export function faultOf(problem, pointer) {
  return problem?.errors.find((fault) => fault.pointer === pointer)?.detail;
}

/**
 * @typedef {object} Around
 * @property {string} label
 * @property {boolean} [hideLabel] visually; the accessible name stays
 * @property {any} [hint]
 * @property {string | null} [fault] the error message
 */

/**
 * The label, hint and error around any control. Its child is a function that gets the `id` and the ARIA attributes of the control.
 * @param {Around & { children: (attributes: object) => any }} props
 */
export function Field({ label, hideLabel, hint, fault, children }) {
  const id = useId();
  const described = [fault && `${id}-fault`, hint && `${id}-hint`].filter(Boolean).join(" ");
  const attributes = { id, "aria-describedby": described || undefined, "aria-invalid": fault ? "true" : undefined };
  return html`
    <div class=${fault ? "field faulty" : "field"}>
      <label for=${id} class=${hideLabel ? "unseen" : undefined}>${label}</label>
      ${children(attributes)}
      <${Remarks} id=${id} hint=${hint} fault=${fault} />
    </div>
  `;
}

/** @param {{ id: string, hint?: any, fault?: string | null }} props */
function Remarks({ id, hint, fault }) {
  return html`
    ${fault && html`<p class="fault" id="${id}-fault"><${Icon} name="warning" /><span>${fault}</span></p>`}
    ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
  `;
}

/**
 * @param {Around & { value: string, onChange: (value: string) => void, type?: string, [more: string]: any }} props
 *   further attributes go to the input, such as `required`, `inputmode`, `maxlength`
 */
export function TextField({ label, hideLabel, hint, fault, value, onChange, type = "text", ...rest }) {
  return html`
    <${Field} ...${{ label, hideLabel, hint, fault }}>
      ${(/** @type {object} */ attributes) => html`
        <input type=${type} value=${value} onInput=${taking(onChange)} autocomplete="off" ...${attributes} ...${rest} />
      `}
    <//>
  `;
}

/** @param {Around & { value: string, onChange: (value: string) => void, [more: string]: any }} props further attributes go to the text area */
export function TextArea({ label, hideLabel, hint, fault, value, onChange, ...rest }) {
  return html`
    <${Field} ...${{ label, hideLabel, hint, fault }}>
      ${(/** @type {object} */ attributes) => html`
        <textarea value=${value} onInput=${taking(onChange)} autocomplete="off" ...${attributes} ...${rest}></textarea>
      `}
    <//>
  `;
}

/** A password field with a button that reveals the text. @param {Around & { value: string, onChange: (value: string) => void, [more: string]: any }} props */
export function SecretField({ label, hideLabel, hint, fault, value, onChange, ...rest }) {
  const [open, setOpen] = useState(false);
  return html`
    <${Field} ...${{ label, hideLabel, hint, fault }}>
      ${(/** @type {object} */ attributes) => html`
        <div class="with-button">
          <input type=${open ? "text" : "password"} value=${value} onInput=${taking(onChange)} spellcheck=${false}
            autocapitalize="off" ...${attributes} ...${rest} />
          <${Button} kind="quiet" icon=${open ? "hide" : "show"} label=${t(open ? "common.hide" : "common.show")}
            aria-pressed=${String(open)} onClick=${() => setOpen(!open)} />
        </div>
      `}
    <//>
  `;
}

/**
 * @param {Around & { value: string, onChange: (value: string) => void, options: { value: string, title: string }[], [more: string]: any }} props
 */
export function Select({ label, hideLabel, hint, fault, value, onChange, options, ...rest }) {
  return html`
    <${Field} ...${{ label, hideLabel, hint, fault }}>
      ${(/** @type {object} */ attributes) => html`
        <select onChange=${taking(onChange)} ...${attributes} ...${rest}>
          ${options.map((option) => html`
            <option key=${option.value} value=${option.value} selected=${option.value === value}>${option.title}</option>
          `)}
        </select>
      `}
    <//>
  `;
}

/** @param {{ label: any, hint?: any, fault?: string | null, checked: boolean, onChange: (checked: boolean) => void, [more: string]: any }} props */
export function Checkbox({ label, hint, fault, checked, onChange, ...rest }) {
  const id = useId();
  const described = [fault && `${id}-fault`, hint && `${id}-hint`].filter(Boolean).join(" ");
  return html`
    <div class="choice">
      <input type="checkbox" id=${id} checked=${checked} aria-describedby=${described || undefined}
        onChange=${(/** @type {any} */ event) => onChange(event.currentTarget.checked)} ...${rest} />
      <div>
        <label for=${id}>${label}</label>
        <${Remarks} id=${id} hint=${hint} fault=${fault} />
      </div>
    </div>
  `;
}

/**
 * A choice of one among a few visible options. An option can have `more`: controls that are shown while it is chosen.
 * @param {{
 *   label: string,
 *   value: string,
 *   onChange: (value: string) => void,
 *   options: { value: string, title: string, hint?: string, icon?: import("./icon.js").IconName, more?: any }[],
 *   look?: "list" | "cards" | "segments",
 *   hideLabel?: boolean,
 *   fault?: string | null,
 * }} props
 */
export function Choice({ label, value, onChange, options, look = "list", hideLabel = false, fault }) {
  const id = useId();
  return html`
    <fieldset class="choices ${look}" aria-describedby=${fault ? `${id}-fault` : undefined}>
      <legend class=${hideLabel ? "unseen" : undefined}>${label}</legend>
      <div class="options">
        ${options.map((option) => html`
          <div class="choice" key=${option.value}>
            <input type="radio" name=${id} id="${id}-${option.value}" value=${option.value} checked=${option.value === value}
              aria-describedby=${option.hint ? `${id}-${option.value}-hint` : undefined} onChange=${() => onChange(option.value)} />
            <div>
              <label for="${id}-${option.value}">${option.icon && html`<${Icon} name=${option.icon} />`}<span>${option.title}</span></label>
              ${option.hint && html`<p class="hint" id="${id}-${option.value}-hint">${option.hint}</p>`}
              ${option.value === value && option.more && html`<div class="more">${option.more}</div>`}
            </div>
          </div>
        `)}
      </div>
      <${Remarks} id=${id} fault=${fault} />
    </fieldset>
  `;
}

/**
 * A search field.
 * @param {{ label: string, value: string, onChange: (value: string) => void, placeholder?: string, [more: string]: any }} props
 */
export function SearchField({ label, value, onChange, placeholder, ...rest }) {
  const id = useId();
  return html`
    <div class="search">
      <label for=${id} class="unseen">${label}</label>
      <${Icon} name="search" />
      <input id=${id} type="search" value=${value} placeholder=${placeholder ?? label} autocomplete="off" spellcheck=${false}
        autocapitalize="off" onInput=${taking(onChange)} ...${rest} />
      ${value && html`<${Button} kind="quiet" icon="close" label=${t("common.clear")} onClick=${() => onChange("")} />`}
    </div>
  `;
}

/** @param {(value: string) => void} onChange */
function taking(onChange) {
  return (/** @type {any} */ event) => onChange(event.currentTarget.value);
}
