import { useEffect, useRef, useState } from "preact/hooks";

import { path } from "../../address.js";
import { api, Problem } from "../../api.js";
import { can } from "../../session.js";

/**
 * The names of sets by their ids, since an import tells only the id. Null is a set that is deleted; what is missing is not known yet.
 * @param {string[]} ids
 * @returns {Map<string, string | null>}
 */
export function useSetNames(ids) {
  const [names, setNames] = useState(/** @type {Map<string, string | null>} */ (new Map()));
  const asked = useRef(new Set());
  useEffect(() => {
    if (!can("coupon-sets:read")) return;
    for (const id of ids) {
      if (asked.current.has(id)) continue;
      asked.current.add(id);
      api.get(path`/v1/coupon-sets/${id}`).then(
        ({ name }) => setNames((before) => new Map(before).set(id, name)),
        (failure) => {
          if (failure instanceof Problem && failure.status === 404) setNames((before) => new Map(before).set(id, null));
          else asked.current.delete(id);
        },
      );
    }
  }, [ids.join()]);
  return names;
}
