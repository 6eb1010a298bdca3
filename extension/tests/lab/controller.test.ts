import { beforeEach, describe, expect, it } from 'vitest';

import { ApiError } from '../../src/lab/api.js';
import type { DeployRequest } from '../../src/lab/api.js';
import { Controller } from '../../src/lab/controller.js';
import { show } from '../../src/shared/dom.js';
import { carryOut } from '../../src/shared/verbs.js';
import type { Verb } from '../../src/shared/client.js';
import type { Action } from '../../src/shared/wire.js';
import { OPTIONS, fill, found, offering, overview, storeOf } from '../samples.js';

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
  /** What is done in each dialog that comes. */
  fills: ((dialog: HTMLElement) => void)[] = [];
  hasNotebook = true;
  fails: ApiError | null = null;
  /** What the next actions are refused with. */
  refuses: ApiError | null = null;
  asksForOverviews = 0;
  store = storeOf(overview());
  controller = new Controller(
    {
      act: (key, verb) => this.call('act', key, verb),
      deploy: (request: DeployRequest) => this.call('deploy', request),
      watchLog: (key, heard) => {
        heard([`log of ${key}`]);
        return () => undefined;
      },
      offerings: () => Promise.resolve({ offerings: [], failures: [] }),
      options: () => (this.fails ? Promise.reject(this.fails) : Promise.resolve(OPTIONS)),
    },
    this.store,
    {
      refresh: () => Promise.resolve(),
      refreshAfterChange: () => {
        this.asksForOverviews += 1;
        return Promise.resolve();
      },
    },
    {
      ask: ({ title, body, accept, form }) => {
        this.asked.push(`${title} ${body} [${accept}]`);
        const dialog = document.createElement('div');
        show(dialog, form?.view());
        this.fills.shift()?.(dialog);
        form?.keep(dialog);
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

  /** What the list and the commands do with a verb. */
  carryOut(key: string, verb: Verb): Promise<void> {
    const { controller, store } = this;
    return carryOut(controller, controller.ask, store.state, key, verb);
  }

  private call(...what: unknown[]): Promise<Action> {
    this.calls.push(what);
    const refused = this.fails ?? this.refuses;
    return refused ? Promise.reject(refused) : Promise.resolve(BEGUN);
  }
}

describe('the controller', () => {
  let world: World;

  beforeEach(() => {
    world = new World();
  });

  it('says before it ends everything what ends, and which billing stops', async () => {
    await world.controller.terminateAll();

    expect(world.asked).toEqual([
      'Terminate all? This ends smollm2-abcd for good and deletes the disks.' +
        ' Billing of $0.42/h stops. [Terminate all]',
    ]);
    expect(world.calls).toEqual([['act', 'all', 'terminate']]);
    expect(world.said).toEqual(['info: Terminating all …']);
  });

  it('says before it ends one what of that costs', async () => {
    await world.carryOut('abcd1234', 'terminate');
    await world.carryOut('abcd1234', 'stop');

    expect(world.asked).toEqual([
      'Terminate smollm2-abcd? This ends it for good and deletes the disks.' +
        ' Billing of $0.42/h stops. [Terminate]',
      'Stop smollm2-abcd? It is unavailable until you start it.' +
        ' Its disks are kept, and may be billed. [Stop]',
    ]);
  });

  it('ends nothing without a yes', async () => {
    world.accepts = false;

    await world.controller.terminateAll();
    await world.carryOut('abcd1234', 'terminate');
    await world.carryOut('abcd1234', 'stop');

    expect(world.asked).toHaveLength(3);
    expect(world.calls).toEqual([]);
  });

  it('extends and restarts without a question, and looks at what that has changed', async () => {
    await world.carryOut('abcd1234', 'extend');
    await world.carryOut('abcd1234', 'restart');

    expect(world.asked).toEqual([]);
    expect(world.calls).toEqual([
      ['act', 'abcd1234', 'extend'],
      ['act', 'abcd1234', 'restart'],
    ]);
    expect(world.asksForOverviews).toBe(2);
  });

  it('does nothing with what is not there', async () => {
    await world.carryOut('unknown', 'terminate');

    expect([world.calls, world.asked]).toEqual([[], []]);
  });

  it('has nothing to end where nothing runs', async () => {
    world.store.take(overview({ deployments: [], usd_per_hour: 0, nodes: 0 }));
    await world.controller.terminateAll();

    expect([world.calls, world.asked, world.said]).toEqual([[], [], ['info: Nothing runs.']]);
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
        ' an hour. Unless you set max USD, it may spend $2.00 at most. [Deploy]',
    );
  });

  it('asks in a form for all but what the row says', async () => {
    const names: string[] = [];
    world.fills = [
      (dialog) => {
        names.push(
          ...[...dialog.querySelectorAll('[name]')].map((one) => one.getAttribute('name') ?? ''),
        );
        fill(dialog, 'hours', '2');
        fill(dialog, 'enterprise', true);
      },
    ];
    await world.controller.deployOffering(offering(), 'm/one');

    expect(names).toEqual(['hours', 'image', 'dtype', 'enterprise']);
    const request = { hours: '2', enterprise: 'true', models: ['m/one'], provider: 'runpod' };
    expect(world.calls).toEqual([['deploy', { ...request, gpu: 'L4' }]]);
  });

  it('lets a limit that is filled in go before its own', async () => {
    world.controller.maxUsd = 2;
    const request = { models: ['m/one'], provider: 'runpod', max_usd: '5' };
    await world.controller.deploy(request);

    expect(world.calls).toEqual([['deploy', request]]);
  });

  it('asks again for what the server refuses, with the field marked', async () => {
    const marked: (string | null)[] = [];
    world.fills = [
      (dialog) => {
        fill(dialog, 'hours', '-1');
        world.refuses = new ApiError(400, 'hours: -1', null, 'hours');
      },
      (dialog) => {
        marked.push(found(dialog, '[aria-invalid]').getAttribute('name'));
        marked.push(found(dialog, '[role=alert]').textContent);
        fill(dialog, 'hours', '1');
        world.refuses = null;
      },
    ];
    await world.controller.deployOffering(offering(), 'm/one');

    expect(marked).toEqual(['hours', 'hours: -1']);
    expect(world.calls.map((call) => (call as [string, { hours: string }])[1].hours)).toEqual([
      '-1',
      '1',
    ]);
    expect(world.said).toEqual(['info: Deploying m/one …']);
  });

  it('has what was filled in again where the deployment fails', async () => {
    world.fills = [(dialog) => fill(dialog, 'image', 'mine:1')];
    await world.controller.deployOffering(offering(), 'm/one');
    const error = { message: 'There is no mine:1.', param: 'image' };
    world.store.take(overview({ actions: [{ ...BEGUN, state: 'failed', error }] }));
    const seen: string[] = [];
    world.fills = [
      (dialog) => {
        const image = found(dialog, '[aria-invalid]') as HTMLInputElement;
        seen.push(image.name, image.value);
      },
    ];
    world.accepts = false;
    await world.controller.deployOffering(offering(), 'm/one');

    expect(seen).toEqual(['image', 'mine:1']);
  });

  it('asks nothing where the server does not say what to ask', async () => {
    world.fails = new ApiError(404, 'Too old.');
    await world.controller.deployOffering(offering(), 'm/one');

    expect([world.asked, world.calls, world.said]).toEqual([[], [], ['error: Too old.']]);
  });

  it('asks nothing where nothing costs', async () => {
    await world.controller.deployOffering(offering({ provider: 'local' }), 'm/one');

    expect([world.asked, world.calls]).toEqual([[], [['deploy', { models: ['m/one'] }]]]);
  });

  it('tells once how what it began has ended, and nothing of what others began', async () => {
    await world.controller.act('abcd1234', 'terminate');
    const error = { message: 'It has no <b>mercy</b>.', hint: 'Ask again.' };
    const told = overview({
      actions: [
        { ...BEGUN, state: 'failed', error },
        { ...BEGUN, id: 'of-another-window', state: 'done' },
      ],
    });
    world.store.take(told);
    world.store.take(told);

    expect(world.said).toEqual([
      'info: Terminating smollm2-abcd …',
      'error: terminate smollm2-abcd: It has no <b>mercy</b>. Ask again.',
    ]);
  });

  it('tells what the server refuses', async () => {
    world.fails = new ApiError(402, 'Too dear.', 'Raise --max-usd.');
    await world.controller.deploy({ models: ['m'] });

    expect(world.said).toEqual(['error: Too dear. Raise --max-usd.']);
    expect(world.asksForOverviews).toBe(1);
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
