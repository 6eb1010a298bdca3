import { beforeEach, describe, expect, it } from 'vitest';

import type { Offerings } from '../../src/lab/api.js';
import { cellFor } from '../../src/lab/cells.js';
import { Controller } from '../../src/lab/controller.js';
import { commandsOf } from '../../src/lab/palette.js';
import { Sidebar } from '../../src/lab/sidebar.js';
import type { Store } from '../../src/shared/store.js';
import type { Action } from '../../src/shared/wire.js';
import {
  OPTIONS,
  deployment,
  found,
  offering,
  overview,
  press,
  settled,
  storeOf,
} from '../samples.js';

const BEGUN: Action = {
  id: 'a1',
  word: 'stop',
  target: 'x',
  state: 'running',
  error: null,
  began_at: '',
  ended_at: null,
};

describe('the sidebar', () => {
  let calls: string[];
  let offered: Offerings | null;
  let store: Store;
  let tellLog: (lines: readonly string[]) => void;
  let controller: Controller;
  let sidebar: Sidebar;

  beforeEach(() => {
    calls = [];
    offered = null;
    store = storeOf(overview());
    const note = (call: string): Promise<Action> => {
      calls.push(call);
      return Promise.resolve(BEGUN);
    };
    controller = new Controller(
      {
        act: (key, verb) => note(`${verb} ${key}`),
        deploy: (request) => note(`deploy ${JSON.stringify(request)}`),
        options: () => Promise.resolve(OPTIONS),
        watchLog: (key, heard) => {
          calls.push(`log ${key}`);
          tellLog = heard;
          return () => calls.push(`no log ${key}`);
        },
        offerings: () => {
          calls.push('offerings');
          return offered ? Promise.resolve(offered) : Promise.reject(new Error('nobody answers'));
        },
      },
      store,
      { refresh: () => Promise.resolve(), refreshAfterChange: () => Promise.resolve() },
      {
        ask: () => Promise.resolve(true),
        tell: () => undefined,
        insertCell: (text) => {
          calls.push(`cell ${text.split('\n')[0] ?? ''}`);
          return Promise.resolve(true);
        },
        copy: (text) => {
          calls.push(`copy ${text.split('\n')[0] ?? ''}`);
          return Promise.resolve();
        },
      },
    );
    sidebar = new Sidebar(document.createElement('div'), controller);
  });

  async function pressed(...actions: string[]): Promise<void> {
    for (const action of actions) {
      press(sidebar.root, action);
      await settled();
    }
  }

  it('does what its buttons say', async () => {
    await pressed('extend', 'terminate', 'terminate-all', 'insert-cell', 'copy-cell');

    const cell = cellFor(deployment()).split('\n')[0];
    expect(calls).toEqual([
      'extend abcd1234',
      'terminate abcd1234',
      'terminate all',
      `cell ${cell}`,
      `copy ${cell}`,
    ]);
  });

  it('shows a log while it is open', async () => {
    await pressed('logs');
    tellLog(['line 1']);
    expect(found(sidebar.root, '.conduit-log').textContent).toBe('line 1');
    await pressed('logs');

    expect(sidebar.root.querySelector('.conduit-log')).toBeNull();
    expect(calls).toEqual(['log abcd1234', 'no log abcd1234']);
  });

  it('tells why there are no prices', async () => {
    await pressed('offerings');

    expect(calls).toEqual(['offerings']);
    expect(sidebar.root.textContent).toContain('nobody answers');
  });

  function type(model: string): void {
    (found(sidebar.root, 'input[name=model]') as HTMLInputElement).value = model;
  }

  it('starts the model that is typed, by its button and by Enter', async () => {
    type('  m/one ');
    await pressed('start-here');
    found(sidebar.root, 'form').dispatchEvent(new Event('submit', { cancelable: true }));
    await settled();

    expect(calls).toEqual(['deploy {"models":["m/one"]}', 'deploy {"models":["m/one"]}']);
  });

  it('wants an id before it starts anything', async () => {
    document.body.append(sidebar.root);
    await pressed('start-here');

    expect(calls).toEqual([]);
    expect(document.activeElement?.getAttribute('name')).toBe('model');
    sidebar.root.remove();
  });

  it('rents what is offered for the model that is typed, which stays typed', async () => {
    offered = { offerings: [offering()], failures: [] };
    type('m/one');
    await pressed('offerings', 'deploy-offering', 'copy-offering');
    type('');
    await pressed('deploy-offering', 'copy-offering');

    expect(calls).toEqual([
      'offerings',
      'deploy {"models":["m/one"],"provider":"runpod","gpu":"L4"}',
      'copy %conduit deploy m/one --provider runpod --gpu L4',
      'copy %conduit deploy HuggingFaceTB/SmolLM2-135M-Instruct --provider runpod --gpu L4',
    ]);
  });

  it('gives a cell to whoever drags an item', () => {
    const name = found(sidebar.root, '.conduit-name');

    expect(sidebar.draggedCell(name)).toContain('%%conduit map');
    expect(sidebar.draggedCell(found(sidebar.root, 'h2'))).toBeNull();
  });

  it('keeps the focus on a button while everything around it changes', () => {
    document.body.append(sidebar.root);
    found(sidebar.root, '[data-do=terminate]').focus();
    const degraded = deployment({ status: 'degraded', nodes: '0/1', detail: 'A node is gone.' });
    store.take(overview({ deployments: [degraded] }));

    expect(document.activeElement?.getAttribute('data-do')).toBe('terminate');
    sidebar.root.remove();
  });

  it('stops listening when it is closed', async () => {
    await pressed('logs');
    sidebar.dispose();
    store.take(overview({ deployments: [] }));

    expect(calls).toEqual(['log abcd1234', 'no log abcd1234']);
    expect(sidebar.root.querySelector('.conduit-item')).not.toBeNull();
  });

  it('has its commands in the palette', async () => {
    const opened: string[] = [];
    const commands = commandsOf(controller, () => {
      opened.push('open');
    });
    for (const command of commands) {
      await command.run();
    }

    expect(opened).toEqual(['open']);
    expect(calls).toEqual([
      'terminate all',
      'cell %load_ext conduit_nb',
      'cell %conduit offerings',
    ]);
    expect(new Set(commands.map((command) => command.id)).size).toBe(commands.length);
  });
});
