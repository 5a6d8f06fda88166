/** Form controls with a label, a hint and an error. All of them pass the new value to `onChange`, not the event. */
import type { ComponentChildren, InputHTMLAttributes } from "preact";
import { useId, useState } from "preact/hooks";

import type { Problem } from "../api";
import { classes } from "../classes";
import { t } from "../i18n";
import { Button } from "./button";
import { Icon, type IconName } from "./icon";
import css from "./field.module.css";

/** The error message of a problem for a field of the body: `faultOf(problem, "/name")`. */
export function faultOf(problem: Problem | null, pointer: string) {
  return problem?.errors.find((fault) => fault.pointer === pointer)?.detail;
}

/** The types that a field of text can have. */
type InputType = "text" | "password" | "date" | "time" | "datetime-local" | "url";

export type Around = {
  label: string;
  /** visually; the accessible name stays */
  hideLabel?: boolean;
  hint?: ComponentChildren;
  /** the error message */
  fault?: string | null;
};

/** The attributes that connect a control with its label, its hint and its error. */
export type ControlAttributes = { id: string; "aria-describedby"?: string; "aria-invalid"?: "true" };

/** The label, hint and error around any control. Its child is a function that gets the `id` and the ARIA attributes of the control. */
export function Field({
  label,
  hideLabel,
  hint,
  fault,
  children,
}: Around & { children: (attributes: ControlAttributes) => ComponentChildren }) {
  const id = useId();
  const described = [fault && `${id}-fault`, hint && `${id}-hint`].filter(Boolean).join(" ");
  const attributes: ControlAttributes = { id, "aria-describedby": described || undefined, "aria-invalid": fault ? "true" : undefined };
  return (
    <div class={classes(css.field, fault && css.faulty)} data-part="field">
      <label for={id} class={hideLabel ? "unseen" : undefined}>
        {label}
      </label>
      {children(attributes)}
      <Remarks id={id} hint={hint} fault={fault} />
    </div>
  );
}

/** An input whose type is a value. The types of Preact want a literal, because some attributes depend on it. */
function Input({ type, ...rest }: { type: InputType; [more: string]: unknown }) {
  const attributes = { type, ...rest } as InputHTMLAttributes<HTMLInputElement>;
  return <input {...attributes} />;
}

function Remarks({ id, hint, fault }: { id: string; hint?: ComponentChildren; fault?: string | null }) {
  return (
    <>
      {fault && (
        <p class={css.fault} data-part="fault" id={`${id}-fault`}>
          <Icon name="warning" />
          <span>{fault}</span>
        </p>
      )}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </>
  );
}

/** @param props further attributes go to the input, such as `required`, `inputmode`, `maxlength` */
export function TextField({
  label,
  hideLabel,
  hint,
  fault,
  value,
  onChange,
  type = "text",
  ...rest
}: Around & { value: string; onChange: (value: string) => void; type?: InputType; [more: string]: unknown }) {
  return (
    <Field {...{ label, hideLabel, hint, fault }}>
      {(attributes) => <Input type={type} value={value} onInput={taking(onChange)} autocomplete="off" {...attributes} {...rest} />}
    </Field>
  );
}

/** @param props further attributes go to the text area */
export function TextArea({
  label,
  hideLabel,
  hint,
  fault,
  value,
  onChange,
  ...rest
}: Around & { value: string; onChange: (value: string) => void; [more: string]: unknown }) {
  return (
    <Field {...{ label, hideLabel, hint, fault }}>
      {(attributes) => <textarea value={value} onInput={taking(onChange)} autocomplete="off" {...attributes} {...rest} />}
    </Field>
  );
}

/** A password field with a button that reveals the text. */
export function SecretField({
  label,
  hideLabel,
  hint,
  fault,
  value,
  onChange,
  ...rest
}: Around & { value: string; onChange: (value: string) => void; [more: string]: unknown }) {
  const [open, setOpen] = useState(false);
  return (
    <Field {...{ label, hideLabel, hint, fault }}>
      {(attributes) => (
        <div class={css.withButton}>
          <Input
            type={open ? "text" : "password"}
            value={value}
            onInput={taking(onChange)}
            spellcheck={false}
            autocapitalize="off"
            {...attributes}
            {...rest}
          />
          <Button
            kind="quiet"
            icon={open ? "hide" : "show"}
            label={t(open ? "common.hide" : "common.show")}
            aria-pressed={open}
            onClick={() => setOpen(!open)}
          />
        </div>
      )}
    </Field>
  );
}

export function Select<Value extends string>({
  label,
  hideLabel,
  hint,
  fault,
  value,
  onChange,
  options,
  ...rest
}: Around & { value: Value; onChange: (value: Value) => void; options: { value: Value; title: string }[]; [more: string]: unknown }) {
  return (
    <Field {...{ label, hideLabel, hint, fault }}>
      {(attributes) => (
        <select onChange={taking(onChange)} {...attributes} {...rest}>
          {options.map((option) => (
            <option key={option.value} value={option.value} selected={option.value === value}>
              {option.title}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

export function Checkbox({
  label,
  hint,
  fault,
  checked,
  onChange,
  ...rest
}: {
  label: ComponentChildren;
  hint?: ComponentChildren;
  fault?: string | null;
  checked: boolean;
  onChange: (checked: boolean) => void;
  [more: string]: unknown;
}) {
  const id = useId();
  const described = [fault && `${id}-fault`, hint && `${id}-hint`].filter(Boolean).join(" ");
  return (
    <div class={css.choice} data-part="choice">
      <input
        type="checkbox"
        id={id}
        checked={checked}
        aria-describedby={described || undefined}
        onChange={(event) => onChange(event.currentTarget.checked)}
        {...rest}
      />
      <div>
        <label for={id}>{label}</label>
        <Remarks id={id} hint={hint} fault={fault} />
      </div>
    </div>
  );
}

/** A choice of one among a few visible options. An option can have `more`: controls that are shown while it is chosen. */
export function Choice<Value extends string>({
  label,
  value,
  onChange,
  options,
  look = "list",
  hideLabel = false,
  fault,
}: {
  label: string;
  value: Value;
  onChange: (value: Value) => void;
  options: { value: Value; title: string; hint?: string; icon?: IconName; more?: ComponentChildren }[];
  look?: "list" | "cards" | "segments";
  hideLabel?: boolean;
  fault?: string | null;
}) {
  const id = useId();
  return (
    <fieldset
      class={`${css.choices} ${css[look]}`}
      data-part="choices"
      data-look={look}
      aria-describedby={fault ? `${id}-fault` : undefined}
    >
      <legend class={hideLabel ? "unseen" : undefined}>{label}</legend>
      <div class={css.options} data-part="options">
        {options.map((option) => (
          <div class={css.choice} data-part="choice" key={option.value}>
            <input
              type="radio"
              name={id}
              id={`${id}-${option.value}`}
              value={option.value}
              checked={option.value === value}
              aria-describedby={option.hint ? `${id}-${option.value}-hint` : undefined}
              onChange={() => onChange(option.value)}
            />
            <div>
              <label for={`${id}-${option.value}`}>
                {option.icon && <Icon name={option.icon} />}
                <span>{option.title}</span>
              </label>
              {option.hint && (
                <p class="hint" id={`${id}-${option.value}-hint`}>
                  {option.hint}
                </p>
              )}
              {option.value === value && option.more && <div class={css.more}>{option.more}</div>}
            </div>
          </div>
        ))}
      </div>
      <Remarks id={id} fault={fault} />
    </fieldset>
  );
}

/** A search field. */
export function SearchField({
  label,
  value,
  onChange,
  placeholder,
  ...rest
}: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  placeholder?: string;
  [more: string]: unknown;
}) {
  const id = useId();
  return (
    <div class={css.search} data-part="search">
      <label for={id} class="unseen">
        {label}
      </label>
      <Icon name="search" />
      <input
        id={id}
        type="search"
        value={value}
        placeholder={placeholder ?? label}
        autocomplete="off"
        spellcheck={false}
        autocapitalize="off"
        onInput={taking(onChange)}
        {...rest}
      />
      {value && <Button kind="quiet" icon="close" label={t("common.clear")} onClick={() => onChange("")} />}
    </div>
  );
}

function taking<Value extends string>(onChange: (value: Value) => void) {
  return (event: { currentTarget: { value: string } }) => onChange(event.currentTarget.value as Value);
}
