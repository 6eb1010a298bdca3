import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    environment: 'jsdom',
    include: ['tests/**/*.test.ts'],
    setupFiles: ['tests/setup.ts'],
    // One page for all files: a page for each took three times as long as the tests in them.
    isolate: false,
    maxWorkers: 1,
  },
});
