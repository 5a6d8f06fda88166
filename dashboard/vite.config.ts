/**
 * Builds the dashboard into `dist/`, which is committed: `cargo build` embeds it and needs no Node. `npm run dev` serves the sources
 * instead, in front of a running service at COUPONRY_URL.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** The scripts of the page, by the names of their chunks. */
const ENTRIES = { start: "src/start.ts", app: "src/app.tsx" };
/** The parts that several screens share, but not the first one. They are one file, because each alone is smaller than a request. */
const LATER_PARTS = /\/parts\/(assignments|days|names|query-field|set-name|tabs|time|until)\.(tsx?|module\.css)$/;
/** The oldest browsers that have what the style sheets need: `light-dark()` and `:has()`. */
const BROWSERS = ["chrome123", "firefox121", "safari17.5"];
/** Smaller files are not compressed, because that would save no packet. */
const SMALLEST_COMPRESSED = 1_000;
const SERVICE = process.env.COUPONRY_URL ?? "http://localhost:8080";

export default defineConfig(({ command }) => ({
  // Relative, so that the dashboard works behind a proxy under a sub-path. The development server has the path of the service.
  base: command === "build" ? "./" : "/dashboard/",
  plugins: [page(), licences(), compressed()],
  css: { modules: { localsConvention: "camelCaseOnly", generateScopedName: "[local]_[hash:base64:5]" } },
  build: {
    target: BROWSERS,
    // One style sheet for all screens: it is small, and so the order of its rules does not depend on the way through the dashboard.
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // The content security policy of the page allows no inline content.
    assetsInlineLimit: 0,
    rolldownOptions: {
      input: ENTRIES,
      output: { codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: "parts", test: LATER_PARTS }] } },
    },
  },
  server: { proxy: Object.fromEntries(["/v1", "/healthz"].map((path) => [path, SERVICE])) },
}));

/**
 * Writes the page. Vite would join its scripts into one, but the first one must run before the others have been loaded. The icon is part
 * of the page, because it would be a request of its own.
 */
function page(): Plugin {
  return {
    name: "page",
    enforce: "post",
    generateBundle(_, bundle) {
      const files = Object.values(bundle);
      const chunk = (name: string) => files.find((file) => file.type === "chunk" && file.isEntry && file.name === name)?.fileName;
      const sheet = files.find((file) => file.fileName.endsWith(".css"))?.fileName;
      const icon = encodeURIComponent(readFileSync("src/icon.svg", "utf8").trim());
      const html = readFileSync("index.html", "utf8")
        .replace("/src/icon.svg", `data:image/svg+xml,${icon}`)
        .replace("/src/start.ts", `./${chunk("start")}`)
        .replace("/src/app.tsx", `./${chunk("app")}`)
        .replace("  </head>", `    <link rel="stylesheet" href="./${sheet}" />\n  </head>`);
      this.emitFile({ type: "asset", fileName: "index.html", source: html });
    },
  };
}

/** Writes the licences of the libraries that are part of the bundle. */
function licences(): Plugin {
  return {
    name: "licences",
    generateBundle(_, bundle) {
      const modules = Object.values(bundle).flatMap((file) => (file.type === "chunk" ? Object.keys(file.modules) : []));
      const names = modules.flatMap((id) => /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1] ?? []);
      const texts = [...new Set(names)].sort().map((name) => {
        const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
        return `${name} ${version}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim()}\n`;
      });
      this.emitFile({ type: "asset", fileName: "licences.txt", source: texts.join("\n----\n\n") });
    },
  };
}

/** Writes each file also as brotli and gzip. Only files that have been written are complete. */
function compressed(): Plugin {
  return {
    name: "compressed",
    writeBundle({ dir }, bundle) {
      for (const name of Object.keys(bundle)) {
        const path = `${dir}/${name}`;
        const content = readFileSync(path);
        if (content.length < SMALLEST_COMPRESSED) continue;
        writeFileSync(`${path}.br`, brotliCompressSync(content));
        writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }));
      }
    },
  };
}
