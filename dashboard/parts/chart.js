import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import Plot from "uplot";

import { mark, number } from "../format.js";
import { language, paint, theme } from "../settings.js";

const HEIGHT = 220;
const DAY = 86_400;
/** Up to this many points are marked with dots; more would overlap. */
const MAX_DOTS = 40;
const STEPS = [1, 2, 5].flatMap((n) => Array.from({ length: 9 }, (_, i) => n * 10 ** i)).sort((a, b) => a - b);

/**
 * @typedef {object} Line
 * @property {string} id
 * @property {string} paint a custom property
 * @property {string} [fill] a custom property, for the area below it
 * @property {number[]} [dash]
 * @property {boolean} [hidden] not drawn: it is only the edge of a band
 *
 * A line chart over time. The same data must be available as a table, because a canvas is not accessible to screen readers.
 * @param {{
 *   label: string,
 *   lines: Line[],
 *   data: (number | null)[][],
 *   timezone: string,
 *   bands?: { series: [number, number], paint: string }[],
 *   range?: [number, number],
 *   onPoint: (index: number | null) => void,
 * }} props `data` are timestamps in seconds and the values of each line; `onPoint` gets the index of the point under the pointer
 */
export function Chart({ label, lines, data, timezone, bands = [], range, onPoint }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const chart = useRef(/** @type {Plot | null} */ (null));
  const latest = useRef({ data, range, onPoint });
  latest.current = { data, range, onPoint };
  const appearance = useAppearance();
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
  }, [appearance, lines, timezone]);
  useEffect(() => chart.current?.setData(/** @type {any} */ (data)), [data]);
  return html`<div class="plot" ref=${box} role="img" aria-label=${label}></div>`;
}

/** A key that changes with the language and the color theme, after which a canvas must be drawn again. */
function useAppearance() {
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
      // Headroom above the highest value, and whole numbers on the axis even for small values.
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
        // Dots make a few points easier to hit, and a single point would be invisible without one.
        points: { show: line.hidden ? false : (/** @type {Plot} */ plot) => plot.data[0].length <= MAX_DOTS, size: 6, dash: [], fill: paint("--surface") },
      })),
    ],
    bands: bands.map(({ series, paint: color }) => ({ series, fill: paint(color) })),
    hooks: { setCursor: [(plot) => latest.current.onPoint(plot.cursor.idx ?? null)] },
  };
}

/**
 * The range of the time axis. A single point is centered.
 * @param {(number | null)[]} xs
 * @param {[number, number]} [range]
 * @returns {[number, number]}
 */
function extent(xs, range) {
  const [first, last] = range ?? [xs[0] ?? 0, xs[xs.length - 1] ?? 0];
  return first < last ? [first, last] : [first - DAY / 2, first + DAY / 2];
}

/**
 * The label of a tick: a time if the ticks are less than a day apart, else a day or a month.
 * @param {number} at
 * @param {number} step
 * @param {string} timezone
 */
function tick(at, step, timezone) {
  return mark(new Date(at * 1000), step < DAY ? "time" : step < 28 * DAY ? "day" : "month", timezone);
}
