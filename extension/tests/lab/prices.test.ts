import { beforeEach, describe, expect, it } from 'vitest';

import { ApiError } from '../../src/lab/api.js';
import type { Offering, Offerings } from '../../src/lab/api.js';
import type { Controller } from '../../src/lab/controller.js';
import { Prices } from '../../src/lab/prices.js';
import { StartForm } from '../../src/lab/start.js';
import { HOSTILE, found, offering, press, settled } from '../samples.js';

describe('the prices', () => {
  let answer: Offerings | ApiError;
  let calls: unknown[];
  let prices: Prices;

  beforeEach(() => {
    answer = { offerings: [], failures: [] };
    calls = [];
    const controller: Pick<Controller, 'offerings' | 'copyOffering' | 'deployOffering'> = {
      offerings: () =>
        answer instanceof ApiError ? Promise.reject(answer) : Promise.resolve(answer),
      copyOffering: (one: Offering) => Promise.resolve(void calls.push(['copy', one.id])),
      deployOffering: (one: Offering) => Promise.resolve(void calls.push(['deploy', one.id])),
    };
    prices = new Prices(controller, new StartForm(() => undefined));
  });

  async function ask(
    offerings: readonly Offering[],
    failures: Offerings['failures'] = [],
  ): Promise<string[][]> {
    answer = { offerings, failures };
    press(prices.root, 'offerings');
    await settled();
    return [...prices.root.querySelectorAll('tbody tr[data-key]')].map((row) =>
      [...row.children].map((cell) => cell.textContent),
    );
  }

  it('asks nobody by itself, and once at a time', () => {
    expect(found(prices.root, 'table').closest('[hidden]')).not.toBeNull();
    press(prices.root, 'offerings');

    const button = found(prices.root, '[data-do=offerings]') as HTMLButtonElement;
    expect([button.textContent, button.disabled]).toEqual(['Asking …', true]);
  });

  it('shows what is offered and what can be started', async () => {
    const rows = await ask([
      offering(),
      offering({ accelerator: 'H100', count: 8, launchable: false }),
      offering({ accelerator: null, count: 2 }),
      offering({ count: 2 }),
    ]);

    expect(rows).toEqual([
      ['runpod', 'L4', '24.0', '0.42', 'high', 'CopyDeploy'],
      ['runpod', '8 x H100', '24.0', '0.42', 'high', 'price only'],
      ['runpod', 'CPU', '24.0', '0.42', 'high', 'CopyDeploy'],
      ['runpod', '2 x L4', '24.0', '0.42', 'high', 'Copy'],
    ]);
  });

  it('copies what stands in its row, also once they are sorted', async () => {
    await ask([offering({ id: 'dear', usd_per_hour: 2 }), offering({ id: 'cheap' })]);
    press(prices.root, 'sort', 'usd_per_hour');
    press(found(prices.root, 'tbody'), 'copy-offering');

    expect(calls).toEqual([['copy', 'cheap']]);
  });

  it('says who did not answer', async () => {
    await ask([], [{ provider: 'aws', message: 'no key' }]);

    expect(found(prices.root, '.conduit-problem').textContent).toBe('aws: no key');
    expect(prices.root.textContent).toContain('0 offerings');
  });

  it('says what went wrong, and can be asked again', async () => {
    answer = new ApiError(503, 'It is ill.', 'Wait.');
    press(prices.root, 'offerings');
    await settled();
    expect(prices.root.textContent).toContain('It is ill. Wait.');

    expect(await ask([offering()])).toHaveLength(1);
    expect(prices.root.textContent).not.toContain('It is ill.');
  });

  it.each(HOSTILE)('shows foreign text as text', async (text) => {
    await ask(
      [offering({ provider: text, accelerator: text, availability: text, region: text })],
      [{ provider: text, message: text }],
    );

    expect(prices.root.querySelector('script, img, svg, iframe, a')).toBeNull();
    expect(prices.root.textContent.length).toBeLessThan(10_000);
  });
});
