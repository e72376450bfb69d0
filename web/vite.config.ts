import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

/** What a build is made of; `tests/page/test_static.py` has the same list, and compares digests without Node. */
const SOURCES = ["index.html", "package-lock.json", "package.json", "public", "src", "tsconfig.json", "vite.config.ts"];

/** Adds the digest of the source to the build, so that anybody can tell whether it is that of the source. */
function sourceDigest(): Plugin {
  return {
    name: "source-digest",
    generateBundle() {
      const root = import.meta.dirname;
      const all = readdirSync(root, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !entry.parentPath.startsWith(join(root, "node_modules")))
        .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1).replaceAll("\\", "/"))
        .filter((name) => SOURCES.includes(name.split("/")[0]!))
        .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      const sha256 = (data: string | Buffer) => createHash("sha256").update(data).digest("hex");
      const lines = all.map((name) => `${sha256(readFileSync(join(root, name)))}  ${name}\n`);
      this.emitFile({ type: "asset", fileName: "source.sha256", source: `${sha256(lines.join(""))}\n` });
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [sourceDigest()],
  build: {
    outDir: "../functa_store/page/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  worker: { format: "es" },
});
