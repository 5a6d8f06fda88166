import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

import { classes } from "../classes";
import css from "./tabs.module.css";

/**
 * Tabs and the panel of the selected one. Arrow keys move between tabs.
 * @param props `children` is the content of the selected tab
 */
export function Tabs<Id extends string>({
  label,
  tabs,
  selected,
  onSelect,
  fill = false,
  children,
}: {
  label: string;
  tabs: { id: Id; title: string }[];
  selected: Id;
  onSelect: (id: Id) => void;
  /** on a page that fills the window: the table in the panel has the room that is left */
  fill?: boolean;
  children: ComponentChildren;
}) {
  const id = useId();
  const move = (event: KeyboardEvent) => {
    const here = tabs.findIndex((tab) => tab.id === selected);
    const there = { ArrowRight: here + 1, ArrowLeft: here - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
    if (there === undefined) return;
    event.preventDefault();
    const tab = tabs[there % tabs.length].id;
    onSelect(tab);
    document.getElementById(`${id}-${tab}`)?.focus();
  };
  return (
    <>
      <div class={css.tabs} role="tablist" aria-label={label} onKeyDown={move}>
        {tabs.map((tab) => (
          <button
            type="button"
            role="tab"
            key={tab.id}
            id={`${id}-${tab.id}`}
            aria-selected={tab.id === selected}
            aria-controls={`${id}-panel`}
            tabindex={tab.id === selected ? 0 : -1}
            onClick={() => onSelect(tab.id)}
          >
            {tab.title}
          </button>
        ))}
      </div>
      <div class={classes(css.tabPanel, fill && css.fill)} role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${selected}`}>
        {children}
      </div>
    </>
  );
}
