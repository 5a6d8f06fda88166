/** The search for a contact, and the page of a contact. */
import { useState } from "preact/hooks";

import { path } from "../address";
import { t } from "../i18n";
import { go } from "../location";
import { Button } from "../parts/button";
import { Empty } from "../parts/empty";
import { SearchField } from "../parts/field";
import { Page } from "../parts/page";
import { Contact } from "./contacts/contact";
import css from "./contacts.module.css";

export default function Contacts({ params, query }: { params: { id?: string }; query: Record<string, string> }) {
  const { id } = params;
  if (id !== undefined) return <Contact id={id} query={query} />;
  return (
    <Page title={t("contacts.title")}>
      <Search />
      <Empty icon="contact" title={t("contacts.empty")} text={t("contacts.empty.text")} />
    </Page>
  );
}

/** Contact ids belong to the shop, so a contact is found by its complete id only. */
function Search() {
  const [typed, setTyped] = useState("");
  const id = typed.trim();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (id) go(path`/contacts/${id}`);
  };
  return (
    <form class={css.lookup} role="search" onSubmit={submit}>
      <SearchField label={t("contacts.search")} value={typed} onChange={setTyped} maxlength="255" />
      <Button kind="primary" type="submit" disabled={!id}>
        {t("contacts.search.action")}
      </Button>
    </form>
  );
}
