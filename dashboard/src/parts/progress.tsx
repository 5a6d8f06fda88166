import { percent } from "../format";
import css from "./progress.module.css";

/** A progress bar. Without a value it is indeterminate. */
export function Progress({
  label,
  value = null,
  max = 100,
  hideLabel = false,
}: {
  label: string;
  value?: number | null;
  max?: number;
  hideLabel?: boolean;
}) {
  const known = value !== null;
  return (
    <div class={css.progress}>
      {!hideLabel && (
        <div class={css.progressLabel}>
          <span>{label}</span>
          {known && <span>{percent(value / max)}</span>}
        </div>
      )}
      <progress max={max} value={known ? value : undefined} aria-label={label} />
    </div>
  );
}

/** The placeholder of content that is loading. */
export function Loading({ label }: { label: string }) {
  return (
    <div class={css.loading} role="status">
      <span class={css.spinner} />
      <span>{label}</span>
    </div>
  );
}
