/** The search for a contact, and the page of a contact. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { path } from "../address.js";
import { t } from "../i18n.js";
import { go } from "../location.js";
import { Button } from "../parts/button.js";
import { Empty } from "../parts/empty.js";
import { SearchField } from "../parts/field.js";
import { Page } from "../parts/page.js";
import { Contact } from "./contacts/contact.js";

/** @param {{ params: { id?: string }, query: Record<string, string> }} props */
export default function Contacts({ params, query }) {
  const { id } = params;
  if (id !== undefined) return html`<${Contact} id=${id} query=${query} />`;
  return html`
    <${Page} title=${t("contacts.title")}>
      <${Search} />
      <${Empty} icon="contact" title=${t("contacts.empty")} text=${t("contacts.empty.text")} />
    <//>
  `;
}

/** Contact ids belong to the shop, so a contact is found by its complete id only. */
function Search() {
  const [typed, setTyped] = useState("");
  const id = typed.trim();
  /** @param {SubmitEvent} event */
  const submit = (event) => {
    event.preventDefault();
    if (id) go(path`/contacts/${id}`);
  };
  return html`
    <form class="lookup" role="search" onSubmit=${submit}>
      <${SearchField} label=${t("contacts.search")} value=${typed} onChange=${setTyped} maxlength="255" />
      <${Button} kind="primary" type="submit" disabled=${!id}>${t("contacts.search.action")}<//>
    </form>
  `;
}
