import { describe, expect, it } from 'vitest';

import { show } from '../../src/dom.js';
import { deploymentsView, wordsFor } from '../../src/panels/deployments.js';
import { Store } from '../../src/store.js';
import type { State } from '../../src/store.js';
import { HOSTILE, NOW, StoppedTime, deployment, found, overview } from '../samples.js';

async function stateOf(changes: Parameters<typeof overview>[0] = {}): Promise<State> {
  const store = new Store(
    { overview: () => Promise.resolve(overview(changes)) },
    3000,
    new StoppedTime(),
  );
  await store.refresh();
  return store.state;
}

function drawn(state: State, now = NOW, logs = new Map<string, readonly string[]>()): HTMLElement {
  const root = document.createElement('div');
  show(root, ...deploymentsView(state, now, logs));
  return root;
}

describe('the list of what runs', () => {
  it('says what it is, costs and has cost, and when it ends', async () => {
    const root = drawn(await stateOf());

    expect(found(root, '.jp-Conduit-facts').textContent).toBe(
      'runpod · L4 · EU-RO-1 · 1/1 ready · HuggingFaceTB/SmolLM2-135M-Instruct · ' +
        '$0.42/h · $1.26 so far · ends in 38 min',
    );
    expect(found(root, '.jp-Conduit-summary').textContent).toContain(
      '$0.42/h · 1 node · $1.26 today of $10.00',
    );
  });

  it('lets amounts grow and leases shrink without an answer', async () => {
    const root = drawn(await stateOf(), NOW + 30 * 60_000);

    expect(root.textContent).toContain('$1.47 so far · ends in 8 min');
    expect(drawn(await stateOf(), NOW + 60 * 60_000).textContent).toContain('its lease is over');
  });

  it('never says running of what nobody has seen', async () => {
    const state = { ...(await stateOf()), problem: 'no connection' };
    const root = drawn(state);

    expect(found(root, '.jp-Conduit-status').textContent).toBe('last seen running');
    expect(root.textContent).toMatch(/no answer, last seen \d/);
    expect(root.textContent).toContain('no connection');
  });

  it('names the provider that does not answer', async () => {
    const root = drawn(await stateOf({ look_failures: ['runpod could not be looked at: 503'] }));

    expect(found(root, '[role=status]').textContent).toContain('runpod could not be looked at');
  });

  it('says that nothing costs', async () => {
    const root = drawn(await stateOf({ deployments: [], usd_per_hour: 0, nodes: 0 }));

    expect(root.textContent).toContain('Nothing runs, and nothing costs.');
  });

  it('shows what is under way and what went wrong', async () => {
    const action = {
      id: '1',
      word: 'deploy',
      target: 'm/one',
      began_at: '',
      ended_at: null,
      error: null,
    };
    const root = drawn(
      await stateOf({
        actions: [
          { ...action, state: 'running' },
          { ...action, id: '2', state: 'failed', error: { message: 'No room.', hint: 'Wait.' } },
          { ...action, id: '3', state: 'done' },
        ],
      }),
    );

    expect(
      [...root.querySelectorAll('.jp-Conduit-actions li')].map((li) => li.textContent),
    ).toEqual(['deploy m/one: under way …', 'deploy m/one: No room. Wait.']);
  });

  it.each(HOSTILE)('shows foreign text as text', async (text) => {
    const hostile = deployment({
      key: text,
      name: text,
      status: text,
      detail: text,
      device: text,
      region: text,
      models: { [text]: text },
    });
    const state = await stateOf({ deployments: [hostile], look_failures: [text] });
    const root = drawn(state, NOW, new Map([[text, [text, text]]]));

    expect(root.querySelector('script, img, svg, iframe, a, b')).toBeNull();
    expect(root.textContent.length).toBeLessThan(20_000);
    for (const one of root.querySelectorAll('*')) {
      expect(one.getAttributeNames().filter((name) => name.startsWith('on'))).toEqual([]);
    }
  });

  it('gives every button a name of its own', async () => {
    const root = drawn(
      await stateOf({ deployments: [deployment(), deployment({ key: 'b', name: 'other' })] }),
    );
    const names = [...root.querySelectorAll('button')].map((one) => one.getAttribute('aria-label'));

    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain('Terminate: other');
  });
});

describe('what can be done', () => {
  it.each([
    ['running', ['extend', 'restart', 'stop', 'terminate']],
    ['stopped', ['start', 'terminate']],
    ['launching', ['terminate']],
    ['terminating', ['terminate']],
  ])('with a deployment that is %s', (status, words) => {
    expect(wordsFor(deployment({ status }))).toEqual(words);
  });

  it('with a sidecar', () => {
    expect(wordsFor(deployment({ id: null }))).toEqual(['stop']);
  });
});
