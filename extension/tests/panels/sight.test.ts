import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { SEEN_EVERY_MS, whileSeen } from '../../src/panels/sight.js';
import { bringIntoSight } from '../setup.js';

describe('what is seen', () => {
  let root: HTMLElement;
  let seen: number;
  let end: () => void;

  beforeEach(() => {
    vi.useFakeTimers();
    root = document.createElement('div');
    seen = 0;
    end = whileSeen(root, () => {
      seen += 1;
    });
  });

  afterEach(() => {
    end();
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  function turnPage(visibility: DocumentVisibilityState): void {
    vi.spyOn(document, 'visibilityState', 'get').mockReturnValue(visibility);
    document.dispatchEvent(new Event('visibilitychange'));
  }

  it('is nothing before it comes into sight', () => {
    vi.advanceTimersByTime(10 * SEEN_EVERY_MS);

    expect(seen).toBe(0);
  });

  it('is told at once, and again while it stays in sight', () => {
    bringIntoSight(root);
    expect(seen).toBe(1);
    bringIntoSight(root); // more of it
    vi.advanceTimersByTime(3 * SEEN_EVERY_MS);

    expect(seen).toBe(4);
  });

  it('is told no more once it is out of sight, until it is back', () => {
    bringIntoSight(root);
    bringIntoSight(root, false);
    vi.advanceTimersByTime(10 * SEEN_EVERY_MS);
    expect(seen).toBe(1);
    bringIntoSight(root);

    expect(seen).toBe(2);
  });

  it('is nothing on a page that is hidden, and told at once when it is shown', () => {
    bringIntoSight(root);
    turnPage('hidden');
    vi.advanceTimersByTime(10 * SEEN_EVERY_MS);
    expect(seen).toBe(1);
    turnPage('visible');

    expect(seen).toBe(2);
  });

  it('is told no more once it has ended', () => {
    bringIntoSight(root);
    end();
    bringIntoSight(root);
    turnPage('visible');
    vi.advanceTimersByTime(10 * SEEN_EVERY_MS);

    expect(seen).toBe(1);
  });
});
