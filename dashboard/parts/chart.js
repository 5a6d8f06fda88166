import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import Plot from "uplot";

import { mark, number } from "../format.js";
import { language, paint, theme } from "../settings.js";

const HEIGHT = 220;
const DAY = 86_400;
/** More points than these would run into each other. */
const MOST_DOTS = 40;
const STEPS = [1, 2, 5].flatMap((n) => Array.from({ length: 9 }, (_, i) => n * 10 ** i)).sort((a, b) => a - b);

/**
 * @typedef {object} Line
 * @property {string} id
 * @property {string} paint a custom property
 * @property {string} [fill] a custom property, for the area below it
 * @property {number[]} [dash]
 * @property {boolean} [hidden] only the edge of a band
 *
 * Lines over time. What it shows has to be said in a table too, since a canvas says nothing to those who do not see it.
 * @param {{
 *   label: string,
 *   lines: Line[],
 *   data: (number | null)[][],
 *   timezone: string,
 *   bands?: { series: [number, number], paint: string }[],
 *   range?: [number, number],
 *   onPoint: (index: number | null) => void,
 * }} props `data` are seconds, and the values of each line; `onPoint` is told which of them the pointer is at
 */
export function Chart({ label, lines, data, timezone, bands = [], range, onPoint }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const chart = useRef(/** @type {Plot | null} */ (null));
  const latest = useRef({ data, range, onPoint });
  latest.current = { data, range, onPoint };
  const look = useLook();
  useEffect(() => {
    const element = /** @type {HTMLElement} */ (box.current);
    const plot = new Plot(optionsOf({ lines, bands, timezone, width: element.clientWidth, latest }), /** @type {any} */ (latest.current.data), element);
    chart.current = plot;
    const resized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      plot.destroy();
      chart.current = null;
    };
  }, [look, lines, timezone]);
  useEffect(() => chart.current?.setData(/** @type {any} */ (data)), [data]);
  return html`<div class="plot" ref=${box} role="img" aria-label=${label}></div>`;
}

/** Changes with the language and with the colors on the screen, for which a canvas has to be drawn anew. */
function useLook() {
  const [system, setSystem] = useState(0);
  useEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => setSystem((n) => n + 1);
    dark.addEventListener("change", changed);
    return () => dark.removeEventListener("change", changed);
  }, []);
  return `${language.value} ${theme.value} ${system}`;
}

/**
 * @param {{
 *   lines: Line[],
 *   bands: { series: [number, number], paint: string }[],
 *   timezone: string,
 *   width: number,
 *   latest: { current: { data: (number | null)[][], range?: [number, number], onPoint: (index: number | null) => void } },
 * }} given
 * @returns {Plot.Options}
 */
function optionsOf({ lines, bands, timezone, width, latest }) {
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: paint("--soft"), font, ticks: { show: false }, border: { show: false } };
  return {
    width,
    height: HEIGHT,
    tzDate: (at) => Plot.tzDate(new Date(at * 1000), timezone),
    legend: { show: false },
    padding: [12, 28, 0, 0],
    cursor: { drag: { x: false, y: false }, y: false, points: { size: 8, width: 0 } },
    scales: {
      x: { range: () => extent(latest.current.data[0], latest.current.range) },
      // Room above, and whole numbers even where there is almost nothing.
      y: { range: (_, min, max) => [Math.min(min ?? 0, 0), Math.max((max ?? 0) * 1.1, 4)] },
    },
    axes: [
      { ...axis, grid: { show: false }, size: 28, gap: 4, space: 72, values: (_, splits, __, ___, step) => splits.map((at) => tick(at, step, timezone)) },
      {
        ...axis,
        grid: { stroke: paint("--line"), width: 1 },
        incrs: STEPS,
        size: (_, values) => Math.max(...(values ?? []).map((text) => text.length), 2) * 8 + 12,
        values: (_, splits) => splits.map((n) => number(n)),
      },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        stroke: paint(line.paint),
        fill: line.fill && paint(line.fill),
        width: line.hidden ? 0 : 2,
        dash: line.dash,
        // Few points are easier to meet when each one is marked, and a single one would not be seen at all.
        points: { show: line.hidden ? false : (/** @type {Plot} */ plot) => plot.data[0].length <= MOST_DOTS, size: 6, dash: [], fill: paint("--surface") },
      })),
    ],
    bands: bands.map(({ series, paint: color }) => ({ series, fill: paint(color) })),
    hooks: { setCursor: [(plot) => latest.current.onPoint(plot.cursor.idx ?? null)] },
  };
}

/**
 * A single point stands in the middle.
 * @param {(number | null)[]} xs
 * @param {[number, number]} [range]
 * @returns {[number, number]}
 */
function extent(xs, range) {
  const [first, last] = range ?? [xs[0] ?? 0, xs[xs.length - 1] ?? 0];
  return first < last ? [first, last] : [first - DAY / 2, first + DAY / 2];
}

/**
 * What stands under the chart: times where the marks are hours apart, else days or months.
 * @param {number} at
 * @param {number} step
 * @param {string} timezone
 */
function tick(at, step, timezone) {
  return mark(new Date(at * 1000), step < DAY ? "time" : step < 28 * DAY ? "day" : "month", timezone);
}
