// Bundles the notebook's panels into the folder that is named: a module for each, and their style.
// esbuild comes with vitest; package-lock.json pins it, so that the same sources make the same bytes.
import { buildSync } from 'esbuild';

buildSync({
  entryPoints: [
    'src/panels/deployment_panel.ts',
    'src/panels/offering_table.ts',
    'style/panels.css',
  ],
  entryNames: '[name]',
  outdir: process.argv[2],
  bundle: true,
  charset: 'utf8',
  format: 'esm',
  logLevel: 'warning',
  minify: false, // an installation from source shows in the browser what is in the repository
  target: 'es2022',
});
