import { describe, expect, it, vi } from 'vitest';

import { Ticker } from '../../src/panels/ticker.js';
import { NOTHING, Store } from '../../src/store.js';
import { StoppedTime, found, overview } from '../samples.js';

async function tickerOf(...answers: unknown[]): Promise<{
  root: HTMLElement;
  store: Store;
  time: StoppedTime;
  ticker: Ticker;
  actions: { open: () => void; stopAll: () => void };
}> {
  const time = new StoppedTime();
  const queue = [...answers];
  const api = {
    overview: () => {
      const answer = queue.shift();
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer as never);
    },
  };
  const store = new Store(api, 3000, time);
  const root = document.createElement('div');
  const actions = { open: vi.fn(), stopAll: vi.fn() };
  const ticker = new Ticker(root, store, actions);
  await store.refresh();
  return { root, store, time, ticker, actions };
}

describe('the ticker', () => {
  it('says what it costs an hour, on how many nodes', async () => {
    const { root } = await tickerOf(overview());

    expect(found(root, '[data-do=open]').textContent).toBe('$0.42/h · 1 node');
    expect(found(root, '[data-do=open]').title).toContain('$1.26 today, of $10.00 at most');
    expect(found(root, '[data-do=open]').title).toContain('Seen 2 s ago');
  });

  it('opens the sidebar and stops all', async () => {
    const { root, actions } = await tickerOf(overview());

    found(root, '[data-do=open]').click();
    found(root, '[data-do=stop-all]').click();

    expect(actions.open).toHaveBeenCalledOnce();
    expect(actions.stopAll).toHaveBeenCalledOnce();
  });

  it('offers no stop where nothing runs, and hides where that is wanted', async () => {
    const idle = overview({ deployments: [], nodes: 0, usd_per_hour: 0 });
    const { root, ticker } = await tickerOf(idle);

    expect(root.textContent).toBe('$0.00/h · 0 nodes');
    expect(root.querySelector('[data-do=stop-all]')).toBeNull();
    ticker.showsIdle = false;
    ticker.update();
    expect(root.textContent).toBe('');
  });

  it('says when it was last right, while no answer comes', async () => {
    const { root, store, time } = await tickerOf(overview(), new Error('no connection'));

    time.pass(120_000);
    await store.refresh();

    const open = found(root, '[data-do=open]');
    expect(open.textContent).toMatch(/^\$0\.42\/h · 1 node · last seen \d/);
    expect(open.title).toContain('No answer: no connection');
    expect(open.dataset['stale']).toBe('true');
  });

  it('says how old the word of the providers is, once that is old', async () => {
    const { root } = await tickerOf(overview({ looked_at: '2026-11-27T11:55:00Z' }));

    expect(root.textContent).toContain('· 5 min old');
  });

  it('keeps the focus where it is while it changes', async () => {
    const { root, store } = await tickerOf(overview(), overview({ usd_per_hour: 0.84 }));
    document.body.append(root);
    found(root, '[data-do=stop-all]').focus();

    await store.refresh();

    expect(document.activeElement).toBe(root.querySelector('[data-do=stop-all]'));
    expect(root.textContent).toContain('$0.84/h');
    root.remove();
  });

  it('begins with nothing', () => {
    expect(NOTHING.receivedAt).toBeNull();
    const root = document.createElement('div');
    const store = new Store({ overview: () => new Promise(() => undefined) }, 1, new StoppedTime());
    new Ticker(root, store, { open: () => undefined, stopAll: () => undefined });

    expect(root.textContent).toContain('Conduit …');
  });
});
