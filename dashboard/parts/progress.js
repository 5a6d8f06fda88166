import { html } from "htm/preact";

import { percent } from "../format.js";

/**
 * A progress bar. Without a value it is indeterminate.
 * @param {{ label: string, value?: number | null, max?: number, hideLabel?: boolean }} props
 */
export function Progress({ label, value = null, max = 100, hideLabel = false }) {
  const known = value !== null;
  return html`
    <div class="progress">
      ${!hideLabel && html`<div class="progress-label"><span>${label}</span>${known && html`<span>${percent(value / max)}</span>`}</div>`}
      <progress max=${max} value=${known ? value : undefined} aria-label=${label}></progress>
    </div>
  `;
}

/** The placeholder of content that is loading. @param {{ label: string }} props */
export function Loading({ label }) {
  return html`<div class="loading" role="status"><span class="spinner"></span><span>${label}</span></div>`;
}
