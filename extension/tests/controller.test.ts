import { beforeEach, describe, expect, it } from 'vitest';

import { ApiError } from '../src/api.js';
import type { Action, DeployRequest, Overview } from '../src/api.js';
import { Controller } from '../src/controller.js';
import { Store } from '../src/store.js';
import { StoppedTime, offering, overview } from './samples.js';

const BEGUN: Action = {
  id: 'a1',
  word: 'terminate',
  target: 'smollm2-abcd',
  state: 'running',
  error: null,
  began_at: '2026-11-27T12:00:00Z',
  ended_at: null,
};

/** A server that notes what it is told to do, and a JupyterLab that notes what it is asked. */
class World {
  calls: unknown[] = [];
  asked: string[] = [];
  said: string[] = [];
  cells: string[] = [];
  copied: string[] = [];
  accepts = true;
  hasNotebook = true;
  fails: ApiError | null = null;
  answer: Overview = overview();
  store = new Store({ overview: () => Promise.resolve(this.answer) }, 3000, new StoppedTime());
  controller = new Controller(
    {
      act: (key, word, body) => this.call('act', key, word, body),
      deploy: (request: DeployRequest) => this.call('deploy', request),
      stopAll: () => this.call('stopAll'),
      logs: () =>
        this.fails ? Promise.reject(this.fails) : Promise.resolve(['one line', 'another']),
      offerings: () => Promise.resolve({ offerings: [], failures: [] }),
    },
    this.store,
    {
      confirm: (title, body, accept) => {
        this.asked.push(`${title} ${body} [${accept}]`);
        return Promise.resolve(this.accepts);
      },
      tell: (message, kind) => {
        this.said.push(`${kind}: ${message}`);
      },
      insertCell: (text) => {
        if (this.hasNotebook) {
          this.cells.push(text);
        }
        return Promise.resolve(this.hasNotebook);
      },
      copy: (text) => {
        this.copied.push(text);
        return Promise.resolve();
      },
    },
  );

  private call(...what: unknown[]): Promise<Action> {
    this.calls.push(what);
    return this.fails ? Promise.reject(this.fails) : Promise.resolve(BEGUN);
  }
}

describe('the controller', () => {
  let world: World;

  beforeEach(async () => {
    world = new World();
    await world.store.refresh();
  });

  it('asks before it ends anything, with what that costs', async () => {
    await world.controller.stopAll();

    expect(world.asked).toEqual([
      'Stop all? This ends smollm2-abcd, for good. It costs $0.42 an hour now. [Stop all]',
    ]);
    expect(world.calls).toEqual([['stopAll']]);
  });

  it('ends nothing without a yes', async () => {
    world.accepts = false;

    await world.controller.stopAll();
    await world.controller.act('abcd1234', 'terminate');
    await world.controller.act('abcd1234', 'stop');

    expect(world.asked).toHaveLength(3);
    expect(world.calls).toEqual([]);
  });

  it('extends, starts and restarts without a question', async () => {
    await world.controller.act('abcd1234', 'extend');
    await world.controller.act('abcd1234', 'restart');

    expect(world.asked).toEqual([]);
    expect(world.calls).toEqual([
      ['act', 'abcd1234', 'extend', { hours: 1 }],
      ['act', 'abcd1234', 'restart', {}],
    ]);
  });

  it('does nothing with what is not there', async () => {
    await world.controller.act('unknown', 'terminate');

    expect([world.calls, world.asked]).toEqual([[], []]);
  });

  it('has nothing to stop where nothing runs', async () => {
    world.answer = overview({ deployments: [], usd_per_hour: 0, nodes: 0 });
    await world.store.refresh();
    await world.controller.stopAll();

    expect([world.calls, world.said]).toEqual([[], ['info: Nothing runs.']]);
  });

  it('puts its spend cap on what it deploys', async () => {
    world.controller.maxUsd = 2;
    await world.controller.deploy({ models: ['m/one'], provider: 'runpod' });
    await world.controller.deploy({ models: ['m/one'] });

    expect(world.calls).toEqual([
      ['deploy', { models: ['m/one'], provider: 'runpod', max_usd: 2 }],
      ['deploy', { models: ['m/one'] }],
    ]);
  });

  it('rents what is offered after a question that says what it costs', async () => {
    world.accepts = false;
    await world.controller.deployOffering(offering(), 'm/one');
    expect(world.calls).toEqual([]);

    world.accepts = true;
    world.controller.maxUsd = 2;
    await world.controller.deployOffering(offering(), 'm/one');
    await world.controller.deployOffering(offering({ accelerator: null }), 'm/one');

    const request = { models: ['m/one'], provider: 'runpod', max_usd: 2 };
    expect(world.calls).toEqual([
      ['deploy', { ...request, gpu: 'L4' }],
      ['deploy', request],
    ]);
    expect(world.asked[0]).toContain('CONDUIT_MAX_USD_PER_DEPLOYMENT');
    expect(world.asked[1]).toBe(
      'Deploy on runpod? This rents the cheapest L4 of runpod that m/one fits, for about $0.42' +
        ' an hour. It may spend $2.00 at most. [Deploy]',
    );
  });

  it('asks nothing where nothing costs', async () => {
    await world.controller.deployOffering(offering({ provider: 'local' }), 'm/one');

    expect([world.asked, world.calls]).toEqual([[], [['deploy', { models: ['m/one'] }]]]);
  });

  it('tells once how what it began has ended, and nothing of what others began', async () => {
    await world.controller.act('abcd1234', 'terminate');
    const error = { message: 'It has no <b>mercy</b>.', hint: 'Ask again.' };
    world.answer = overview({
      actions: [
        { ...BEGUN, state: 'failed', error },
        { ...BEGUN, id: 'of-another-window', state: 'done' },
      ],
    });
    await world.store.refresh();
    await world.store.refresh();

    expect(world.said).toEqual([
      'info: Terminating smollm2-abcd …',
      'error: terminate smollm2-abcd: It has no <b>mercy</b>. Ask again.',
    ]);
  });

  it('tells what the server refuses', async () => {
    world.fails = new ApiError(402, 'Too dear.', 'Raise --max-usd.');
    await world.controller.deploy({ models: ['m'] });

    expect(world.said).toEqual(['error: Too dear. Raise --max-usd.']);
    expect(await world.controller.logs('abcd1234')).toEqual(['Too dear. Raise --max-usd.']);
  });

  it('inserts a cell, or copies it where no notebook is in front', async () => {
    await world.controller.insertCellFor('abcd1234');
    world.hasNotebook = false;
    await world.controller.insertCellFor('abcd1234');
    await world.controller.copyCell('abcd1234');

    expect(world.cells).toHaveLength(1);
    expect(world.copied).toEqual([world.cells[0], world.cells[0]]);
    expect(world.said[0]).toContain('No notebook is in front');
  });
});
