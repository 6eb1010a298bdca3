import { describe, expect, it, vi } from 'vitest';

import { Ticker } from '../../src/lab/ticker.js';
import { NOTHING, Store } from '../../src/shared/store.js';
import type { Overview } from '../../src/shared/wire.js';
import { StoppedTime, found, overview, press } from '../samples.js';

function tickerOf(told: Overview): {
  root: HTMLElement;
  store: Store;
  time: StoppedTime;
  ticker: Ticker;
  actions: { open: () => void; terminateAll: () => void };
} {
  const time = new StoppedTime();
  const store = new Store(time);
  const root = document.createElement('div');
  const actions = { open: vi.fn(), terminateAll: vi.fn() };
  const ticker = new Ticker(root, store, actions);
  store.take(told);
  return { root, store, time, ticker, actions };
}

describe('the ticker', () => {
  it('says what it costs an hour, on how many nodes', () => {
    const { root } = tickerOf(overview());

    expect(found(root, '[data-do=open]').textContent).toBe('$0.42/h · 1 node');
    expect(found(root, '[data-do=open]').title).toContain('$1.26 today, of $10.00 at most');
    expect(found(root, '[data-do=open]').title).toContain('Seen 2 s ago');
  });

  it('opens the sidebar and terminates all', () => {
    const { root, actions } = tickerOf(overview());

    press(root, 'open');
    press(root, 'terminate-all');

    expect(actions.open).toHaveBeenCalledOnce();
    expect(actions.terminateAll).toHaveBeenCalledOnce();
  });

  it('offers no end where nothing runs, and hides where that is wanted', () => {
    const idle = overview({ deployments: [], nodes: 0, usd_per_hour: 0 });
    const { root, ticker } = tickerOf(idle);

    expect(root.textContent).toBe('$0.00/h · 0 nodes');
    expect(root.querySelector('[data-do=terminate-all]')).toBeNull();
    ticker.showsIdle = false;
    ticker.update();
    expect(root.textContent).toBe('');
  });

  it('says when it was last right, while no answer comes', () => {
    const { root, store, time } = tickerOf(overview());

    time.pass(120_000);
    store.lose('no connection');

    const open = found(root, '[data-do=open]');
    expect(open.textContent).toMatch(/^\$0\.42\/h · 1 node · last seen \d/);
    expect(open.title).toContain('No answer: no connection');
    expect(open.dataset['stale']).toBe('true');
  });

  it('says how old the word of the providers is, once that is old', () => {
    const { root } = tickerOf(overview({ looked_at: '2026-11-27T11:55:00Z' }));

    expect(root.textContent).toContain('· 5 min old');
  });

  it('keeps the focus where it is while it changes', () => {
    const { root, store } = tickerOf(overview());
    document.body.append(root);
    found(root, '[data-do=terminate-all]').focus();

    store.take(overview({ usd_per_hour: 0.84 }));

    expect(document.activeElement).toBe(root.querySelector('[data-do=terminate-all]'));
    expect(root.textContent).toContain('$0.84/h');
    root.remove();
  });

  it('begins with nothing', () => {
    expect(NOTHING.receivedAt).toBeNull();
    const root = document.createElement('div');
    new Ticker(root, new Store(), { open: () => undefined, terminateAll: () => undefined });

    expect(root.textContent).toContain('Conduit …');
  });
});
