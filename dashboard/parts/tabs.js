import { html } from "htm/preact";
import { useId } from "preact/hooks";

/**
 * Tabs and the panel of the selected one. Arrow keys move between tabs.
 * @param {{ label: string, tabs: { id: string, title: string }[], selected: string, onSelect: (id: string) => void, children: any }} props
 *   `children` is the content of the selected tab
 */
export function Tabs({ label, tabs, selected, onSelect, children }) {
  const id = useId();
  /** @param {KeyboardEvent} event */
  const move = (event) => {
    const here = tabs.findIndex((tab) => tab.id === selected);
    const there = { ArrowRight: here + 1, ArrowLeft: here - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
    if (there === undefined) return;
    event.preventDefault();
    const tab = tabs[there % tabs.length].id;
    onSelect(tab);
    document.getElementById(`${id}-${tab}`)?.focus();
  };
  return html`
    <div class="tabs" role="tablist" aria-label=${label} onKeyDown=${move}>
      ${tabs.map((tab) => html`
        <button type="button" role="tab" key=${tab.id} id="${id}-${tab.id}" aria-selected=${String(tab.id === selected)}
          aria-controls="${id}-panel" tabindex=${tab.id === selected ? 0 : -1} onClick=${() => onSelect(tab.id)}>${tab.title}</button>
      `)}
    </div>
    <div class="tab-panel" role="tabpanel" id="${id}-panel" aria-labelledby="${id}-${selected}">${children}</div>
  `;
}
