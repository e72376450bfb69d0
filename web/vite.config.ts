import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: {
    outDir: "../functa_store/page/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  worker: { format: "es" },
});
