import "uplot/dist/uPlot.min.css";

import { useEffect, useRef, useState } from "preact/hooks";
import Plot from "uplot";

import { mark, number } from "../format";
import { language, paint, theme } from "../settings";
import css from "./chart.module.css";

const HEIGHT = 220;
const DAY = 86_400;
/** Up to this many points are marked with dots; more would overlap. */
const MAX_DOTS = 40;
const STEPS = [1, 2, 5].flatMap((n) => Array.from({ length: 9 }, (_, i) => n * 10 ** i)).sort((a, b) => a - b);

export type Line = {
  id: string;
  /** a custom property */
  paint: string;
  /** a custom property, for the area below it */
  fill?: string;
  dash?: number[];
  /** not drawn: it is only the edge of a band */
  hidden?: boolean;
};

/**
 * A line chart over time. The same data must be available as a table, because a canvas is not accessible to screen readers.
 * @param props `data` are timestamps in seconds and the values of each line; `onPoint` gets the index of the point under the pointer
 */
export function Chart({
  label,
  lines,
  data,
  timezone,
  bands = [],
  range,
  onPoint,
}: {
  label: string;
  lines: Line[];
  data: (number | null)[][];
  timezone: string;
  bands?: { series: [number, number]; paint: string }[];
  range?: [number, number];
  onPoint: (index: number | null) => void;
}) {
  const box = useRef<HTMLDivElement | null>(null);
  const chart = useRef<Plot | null>(null);
  const latest = useRef({ data, range, onPoint });
  latest.current = { data, range, onPoint };
  const appearance = useAppearance();
  useEffect(() => {
    const element = box.current as HTMLElement;
    const plot = new Plot(
      optionsOf({ lines, bands, timezone, width: element.clientWidth, latest }),
      latest.current.data as Plot.AlignedData,
      element,
    );
    chart.current = plot;
    const resized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      plot.destroy();
      chart.current = null;
    };
  }, [appearance, lines, timezone]);
  useEffect(() => chart.current?.setData(data as Plot.AlignedData), [data]);
  return <div class={css.plot} ref={box} role="img" aria-label={label} />;
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

function optionsOf({
  lines,
  bands,
  timezone,
  width,
  latest,
}: {
  lines: Line[];
  bands: { series: [number, number]; paint: string }[];
  timezone: string;
  width: number;
  latest: { current: { data: (number | null)[][]; range?: [number, number]; onPoint: (index: number | null) => void } };
}): Plot.Options {
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
      {
        ...axis,
        grid: { show: false },
        size: 28,
        gap: 4,
        space: 72,
        values: (_, splits, __, ___, step) => splits.map((at) => tick(at, step, timezone)),
      },
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
        points: {
          show: line.hidden ? false : (plot: Plot) => plot.data[0].length <= MAX_DOTS,
          size: 6,
          dash: [],
          fill: paint("--surface"),
        },
      })),
    ],
    bands: bands.map(({ series, paint: color }) => ({ series, fill: paint(color) })),
    hooks: { setCursor: [(plot) => latest.current.onPoint(plot.cursor.idx ?? null)] },
  };
}

/** The range of the time axis. A single point is centered. */
function extent(xs: (number | null)[], range?: [number, number]): [number, number] {
  const [first, last] = range ?? [xs[0] ?? 0, xs[xs.length - 1] ?? 0];
  return first < last ? [first, last] : [first - DAY / 2, first + DAY / 2];
}

/** The label of a tick: a time if the ticks are less than a day apart, else a day or a month. */
function tick(at: number, step: number, timezone: string) {
  return mark(new Date(at * 1000), step < DAY ? "time" : step < 28 * DAY ? "day" : "month", timezone);
}
