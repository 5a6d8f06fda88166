/** Both languages have the same texts, which are those that the screens use. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { sources, textsOf } from "./support/sources.js";

const [first, ...others] = readdirSync(new URL("../../dashboard/src/texts/", import.meta.url));

/** @param {string | Record<string, string>} text */
function formsOf(text) {
  return typeof text === "string" ? [text] : Object.values(text);
}

/** @param {string} text */
function valuesOf(text) {
  return [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
}

for (const language of others) {
  test(`${language} has the texts of ${first}, with the same values in them`, async () => {
    const [ours, theirs] = await Promise.all([textsOf(first), textsOf(language)]);
    assert.deepEqual(Object.keys(theirs).sort(), Object.keys(ours).sort());
    for (const [key, text] of Object.entries(ours)) {
      assert.equal(typeof theirs[key], typeof text, `${key} counts in both languages or in none`);
      const [wanted] = formsOf(text).map(valuesOf);
      for (const form of [...formsOf(text), ...formsOf(theirs[key])]) assert.deepEqual(valuesOf(form), wanted, key);
    }
  });
}

for (const language of [first, ...others]) {
  test(`the texts of ${language} that count have all plural forms of the language`, async () => {
    const { pluralCategories } = new Intl.PluralRules(language).resolvedOptions();
    for (const [key, text] of Object.entries(await textsOf(language))) {
      if (typeof text === "string") continue;
      assert.deepEqual(Object.keys(text).sort(), [...pluralCategories].sort(), key);
    }
  });
}

test("every text that a screen names exists", async () => {
  const texts = await textsOf(first);
  const missing = [];
  for (const file of sources()) {
    for (const [, key] of readFileSync(file, "utf8").matchAll(/\bt\("([^"]+)"/g)) if (!(key in texts)) missing.push(`${key} in ${file}`);
  }
  assert.deepEqual(missing, []);
});

test("every text is used", async () => {
  const code = sources().map((file) => readFileSync(file, "utf8")).join("\n");
  // A key can be composed, as in t(`common.type.${type}`), or be an item of a list of keys.
  const whole = new Set([...code.matchAll(/"([a-z]\w*\.[\w.-]+)"/g)].map(([, key]) => key));
  const starts = [...code.matchAll(/`([a-z]\w*\.[\w.-]*)\$\{/g)].map(([, start]) => start);
  const unused = Object.keys(await textsOf(first)).filter((key) => !whole.has(key) && !starts.some((start) => key.startsWith(start)));
  assert.deepEqual(unused, []);
});
