import { beforeEach, describe, expect, it } from 'vitest';

import type { Action, Offerings, Overview } from '../../src/api.js';
import { cellFor } from '../../src/cells.js';
import { Controller } from '../../src/controller.js';
import { commandsOf } from '../../src/panels/palette.js';
import { Sidebar } from '../../src/panels/sidebar.js';
import { Store } from '../../src/store.js';
import { StoppedTime, deployment, found, offering, overview, settled } from '../samples.js';

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
  let answer: Overview;
  let time: StoppedTime;
  let controller: Controller;
  let sidebar: Sidebar;

  beforeEach(async () => {
    calls = [];
    offered = null;
    answer = overview();
    time = new StoppedTime();
    const note = (call: string): Promise<Action> => {
      calls.push(call);
      return Promise.resolve(BEGUN);
    };
    const store = new Store({ overview: () => Promise.resolve(answer) }, 3000, time);
    controller = new Controller(
      {
        act: (key, word) => note(`${word} ${key}`),
        deploy: (request) => note(`deploy ${JSON.stringify(request)}`),
        stopAll: () => note('stop-all'),
        logs: (key) => {
          calls.push(`logs ${key}`);
          return Promise.resolve([`line ${calls.length}`]);
        },
        offerings: () => {
          calls.push('offerings');
          return offered ? Promise.resolve(offered) : Promise.reject(new Error('nobody answers'));
        },
      },
      store,
      {
        confirm: () => Promise.resolve(true),
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
    await store.refresh();
  });

  async function press(action: string): Promise<void> {
    found(sidebar.root, `[data-do="${action}"]`).click();
    await settled();
  }

  it('does what its buttons say', async () => {
    await press('extend');
    await press('terminate');
    await press('stop-all');
    await press('insert-cell');
    await press('copy-cell');

    const cell = cellFor(deployment()).split('\n')[0];
    expect(calls).toEqual([
      'extend abcd1234',
      'terminate abcd1234',
      'stop-all',
      `cell ${cell}`,
      `copy ${cell}`,
    ]);
  });

  it('shows a log while it is open, and reads it again', async () => {
    await press('logs');
    expect(found(sidebar.root, '.jp-Conduit-log').textContent).toBe('line 1');
    time.pass(6_000);
    sidebar.update();
    await settled();
    expect(found(sidebar.root, '.jp-Conduit-log').textContent).toBe('line 2');
    await press('logs');

    expect(sidebar.root.querySelector('.jp-Conduit-log')).toBeNull();
  });

  it('closes the log of what is gone', async () => {
    await press('logs');
    answer = overview({ deployments: [] });
    await controller.store.refresh();
    answer = overview();
    await controller.store.refresh();

    expect(sidebar.root.querySelector('.jp-Conduit-log')).toBeNull();
  });

  it('tells why there are no prices', async () => {
    await press('offerings');

    expect(calls).toEqual(['offerings']);
    expect(sidebar.root.textContent).toContain('nobody answers');
  });

  function type(model: string): void {
    (found(sidebar.root, 'input[name=model]') as HTMLInputElement).value = model;
  }

  it('starts the model that is typed, by its button and by Enter', async () => {
    type('  m/one ');
    await press('start-here');
    found(sidebar.root, 'form').dispatchEvent(new Event('submit', { cancelable: true }));
    await settled();

    expect(calls).toEqual(['deploy {"models":["m/one"]}', 'deploy {"models":["m/one"]}']);
  });

  it('wants an id before it starts anything', async () => {
    document.body.append(sidebar.root);
    await press('start-here');

    expect(calls).toEqual([]);
    expect(document.activeElement?.getAttribute('name')).toBe('model');
    sidebar.root.remove();
  });

  it('rents what is offered for the model that is typed, which stays typed', async () => {
    offered = { offerings: [offering()], failures: [] };
    type('m/one');
    await press('offerings');
    await press('deploy-offering');
    await press('copy-offering');
    type('');
    await press('deploy-offering');
    await press('copy-offering');

    expect(calls).toEqual([
      'offerings',
      'deploy {"models":["m/one"],"provider":"runpod","gpu":"L4"}',
      'copy %conduit deploy m/one --provider runpod --gpu L4',
      'copy %conduit deploy HuggingFaceTB/SmolLM2-135M-Instruct --provider runpod --gpu L4',
    ]);
  });

  it('gives a cell to whoever drags an item', () => {
    const name = found(sidebar.root, '.jp-Conduit-name');

    expect(sidebar.draggedCell(name)).toContain('%%conduit map');
    expect(sidebar.draggedCell(found(sidebar.root, 'h2'))).toBeNull();
  });

  it('keeps the focus on a button while everything around it changes', async () => {
    document.body.append(sidebar.root);
    found(sidebar.root, '[data-do=terminate]').focus();
    answer = overview({ deployments: [deployment({ status: 'degraded', nodes: '0/1' })] });
    await controller.store.refresh();

    expect(document.activeElement?.getAttribute('data-do')).toBe('terminate');
    sidebar.root.remove();
  });

  it('stops listening when it is closed', async () => {
    sidebar.dispose();
    answer = overview({ deployments: [] });
    await controller.store.refresh();

    expect(sidebar.root.querySelector('.jp-Conduit-item')).not.toBeNull();
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
    expect(calls).toEqual(['stop-all', 'cell %load_ext conduit_nb', 'cell %conduit offerings']);
    expect(new Set(commands.map((command) => command.id)).size).toBe(commands.length);
  });
});
