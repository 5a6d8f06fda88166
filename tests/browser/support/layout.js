/** The computed layout of a page, as a value that can be compared. */

/** Computed styles that a stray rule would change. Colors and sizes that depend on them are compared too. */
const STYLES = [
  "display", "position", "visibility", "opacity", "overflow", "color", "backgroundColor", "borderTopWidth", "borderTopColor", "borderLeftWidth",
  "borderRadius", "boxShadow", "fontFamily", "fontSize", "fontWeight", "lineHeight", "letterSpacing", "textAlign", "textDecorationLine", "whiteSpace",
  "paddingTop", "paddingLeft", "paddingRight", "marginTop", "marginLeft", "columnGap", "rowGap", "gridTemplateColumns", "flexDirection", "flexGrow",
  "alignItems", "justifyContent", "listStyleType", "stroke", "strokeWidth", "fill",
];

/**
 * Each element with its place in the document, its box and its styles, one line each.
 * @param {import("playwright-core").Page} page
 * @returns {Promise<string[]>}
 */
export function layoutOf(page) {
  return page.evaluate((styles) => {
    const lines = [];
    /** @param {Element} element @param {string} path */
    const visit = (element, path) => {
      const { left, top, width, height } = element.getBoundingClientRect();
      const box = [left + scrollX, top + scrollY, width, height].map((n) => Math.round(n)).join(" ");
      const style = getComputedStyle(element);
      lines.push(`${path} [${box}] ${styles.map((name) => style[name]).join(" | ")}`);
      [...element.children].forEach((child, i) => visit(child, `${path} > ${child.localName}:${i}`));
    };
    const root = document.getElementById("app");
    if (root) visit(root, "#app");
    return lines;
  }, STYLES);
}

/** The first lines that differ, for a message. @param {string[]} wanted @param {string[]} found */
export function differences(wanted, found) {
  const pairs = wanted.map((line, i) => [line, found[i]]).filter(([a, b]) => a !== b);
  if (pairs.length === 0 && wanted.length === found.length) return [];
  return [`${wanted.length} and ${found.length} elements`, ...pairs.slice(0, 3).flatMap(([a, b]) => [`fresh: ${a}`, `after: ${b}`])];
}
