/** Line icons in the color of the text, drawn on a grid of 20 by 20. They are decorative: the text beside them has the information. */

import css from "./icon.module.css";

const paths = {
  back: "M12 4.5 6.5 10l5.5 5.5",
  chart: "M3.5 3.5v13h13M7 13V9.5M10.5 13V6M14 13v-5",
  check: "m4 10.5 4 4 8-9",
  clock: "M10 5.5V10l3 2M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14Z",
  close: "m5 5 10 10M15 5 5 15",
  code: "M3.5 5.5v9M6.5 5.5v9M9 5.5v9M12 5.5v9M14.5 5.5v9M16.5 5.5v9",
  contact: "M10 10a3.2 3.2 0 1 0 0-6.4A3.2 3.2 0 0 0 10 10ZM3.8 16.5c.6-3 3-4.6 6.2-4.6s5.6 1.6 6.2 4.6",
  copy: "M7.5 7.5h9v9h-9zM4.5 12.5h-1v-9h9v1",
  delete: "M4 6h12M8 6V3.5h4V6M5.5 6l.8 10.5h7.4L14.5 6M8.5 9v5M11.5 9v5",
  down: "m5 7.5 5 5 5-5",
  download: "M10 3v9.5M6 9l4 4 4-4M3.5 16.5h13",
  edit: "M4 16l.8-3.5L13.3 4l2.7 2.7-8.5 8.5L4 16ZM11.5 5.8l2.7 2.7",
  file: "M5 2.5h6.5L15 6v11.5H5zM11.5 2.5V6H15",
  filter: "M3.5 5h13M6 10h8M8.5 15h3",
  grip: "M7.5 5v.01M12.5 5v.01M7.5 10v.01M12.5 10v.01M7.5 15v.01M12.5 15v.01",
  hide: "M3 3l14 14M8.2 5.1A8 8 0 0 1 10 4.9c4 0 6.5 3.2 7.5 5.1a12 12 0 0 1-2.2 2.9M5.6 6.6A11 11 0 0 0 2.5 10c1 1.9 3.5 5.1 7.5 5.1a8 8 0 0 0 3.3-.7",
  import: "M10 3v8.5M6.5 8.5 10 12l3.5-3.5M3.5 12v4.5h13V12",
  info: "M10 9v5M10 6v.01M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14Z",
  key: "M7 16.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM9.5 10.5 16.5 3.5M13 7l2.5 2.5",
  language: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14ZM3 10h14M10 3c2 2 3 4.5 3 7s-1 5-3 7c-2-2-3-4.5-3-7s1-5 3-7Z",
  more: "M4.5 10v.01M10 10v.01M15.5 10v.01",
  next: "M8 4.5 13.5 10 8 15.5",
  plus: "M10 4v12M4 10h12",
  search: "M8.8 14.1a5.3 5.3 0 1 0 0-10.6 5.3 5.3 0 0 0 0 10.6ZM12.8 12.8 17 17",
  sets: "M2.5 5.5h15v3a1.5 1.5 0 0 0 0 3v3h-15v-3a1.5 1.5 0 0 0 0-3zM12 6v1.5M12 9.3v1.5M12 12.5V14",
  settings: "M3 6h7M14 6h3M3 14h3M10 14h7M12 4v4M8 12v4",
  show: "M2.5 10c1-1.9 3.5-5.1 7.5-5.1s6.5 3.2 7.5 5.1c-1 1.9-3.5 5.1-7.5 5.1S3.5 11.9 2.5 10ZM10 12.3a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6Z",
  signOut: "M8 3.5H4v13h4M13 6.5l3.5 3.5-3.5 3.5M16.5 10H8",
  theme: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14ZM10 3v14M10 6.5h6M10 10h7M10 13.5h6",
  undo: "M4 8.5h8a4 4 0 0 1 0 8H8M7.5 5 4 8.5 7.5 12",
  up: "m5 12.5 5-5 5 5",
  warning: "M10 3.5 17.5 16.5h-15zM10 8.5v4M10 14.5v.01",
  webhook: "M10 5.5a2.5 2.5 0 1 0-1.5 2.3L6 12M5.5 12a2.5 2.5 0 1 0 2.5 2.5h5M14.5 12.5a2.5 2.5 0 1 1-1.8 3M10.5 8l2.5 4.5",
  workflow: "M3 3.5h5v4H3zM12 12.5h5v4h-5zM5.5 7.5v7H12M8 5.5h6.5v7",
};

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class={css.icon} data-icon={name} viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  );
}
