import { describe, expect, it } from 'vitest';

import type { Client } from '../../src/shared/client.js';
import {
  DeploymentList,
  actionsView,
  notesView,
  summaryView,
} from '../../src/shared/deployments.js';
import type { Extras } from '../../src/shared/deployments.js';
import { show } from '../../src/shared/dom.js';
import { Store } from '../../src/shared/store.js';
import { verbsFor } from '../../src/shared/verbs.js';
import type { Deployment, Overview } from '../../src/shared/wire.js';
import { HOSTILE, StoppedTime, deployment, found, overview, press } from '../samples.js';

/** What is shown of an overview, and a client that notes which logs are watched. */
class Shown {
  readonly time = new StoppedTime();
  readonly store = new Store(this.time);
  readonly root = document.createElement('div');
  readonly watched = new Map<string, (lines: readonly string[]) => void>();
  private readonly client: Client = {
    act: () => Promise.resolve(),
    watchLog: (key, heard) => {
      this.watched.set(key, heard);
      return () => this.watched.delete(key);
    },
  };
  readonly list: DeploymentList;

  constructor(told: Partial<Overview> | null = {}, extras: Extras = {}) {
    this.list = new DeploymentList(this.store, this.client, () => Promise.resolve(true), extras);
    if (told) {
      this.store.take(overview(told));
    }
    this.draw();
  }

  static of(...deployments: Deployment[]): Shown {
    return new Shown({ deployments });
  }

  take(...deployments: Deployment[]): void {
    this.store.take(overview({ deployments }));
    this.draw();
  }

  draw(): void {
    const { state } = this.store;
    this.list.update();
    const summary = summaryView(state, this.time.now());
    show(this.root, summary, ...notesView(state), this.list.root, actionsView(state.actions));
  }
}

describe('the list of what runs', () => {
  it('says what it is, costs and has cost, and when it ends', () => {
    const { root } = new Shown();

    expect(found(root, '.conduit-facts').textContent).toBe(
      'runpod · lmlite · L4 · EU-RO-1 · 1/1 ready · HuggingFaceTB/SmolLM2-135M-Instruct · ' +
        '$0.42/h · $1.26 so far · ends in 38 min',
    );
    expect(found(root, '.conduit-summary').textContent).toBe(
      '$0.42/h · 1 node · $1.26 today of $10.00seen 2 s ago',
    );
  });

  it('lets amounts grow and leases shrink without an answer', () => {
    const shown = new Shown();
    shown.time.pass(30 * 60_000);
    shown.draw();
    expect(shown.root.textContent).toContain('$1.47 so far · ends in 8 min');
    shown.time.pass(30 * 60_000);
    shown.draw();

    expect(shown.root.textContent).toContain('its lease is over');
  });

  it('never says of what nobody sees that it runs or costs', () => {
    const shown = new Shown();
    shown.store.lose('no connection');
    shown.time.pass(3_600_000);
    shown.draw();

    expect(found(shown.root, '.conduit-state').textContent).toMatch(/^last seen running at \d/);
    expect(shown.root.textContent).toMatch(/\$1\.26 today.*no answer, last seen \d/);
    expect(shown.root.textContent).toContain('no connection');
    expect(shown.root.textContent).not.toContain('so far');
  });

  it('names the provider that does not answer', () => {
    const { root } = new Shown({ look_failures: ['runpod could not be looked at: 503'] });

    expect(found(root, '.conduit-problem').textContent).toContain('runpod could not be looked at');
  });

  it('says that nothing costs, that it looks, or that nothing is known', () => {
    const idle = new Shown({ deployments: [], usd_per_hour: 0, nodes: 0 });
    expect(idle.root.textContent).toContain('Nothing runs, and nothing costs.');
    const early = new Shown(null);
    expect(early.root.textContent).toBe('Looking …');
    early.store.lose('no kernel');
    early.draw();

    expect(early.root.textContent).toBe('no kernel');
  });

  it('says where a deployment is asked, where it is told that', () => {
    const { root } = new Shown({ urls: { abcd1234: 'https://somewhere' } });

    expect(found(root, '.conduit-endpoint').textContent).toBe('Endpoint: https://somewhere');
    expect(new Shown().root.querySelector('.conduit-endpoint')).toBeNull();
  });

  it('shows what is under way and what went wrong', () => {
    const action = {
      id: '1',
      word: 'deploy',
      target: 'm/one',
      began_at: '',
      ended_at: null,
      error: null,
    };
    const { root } = new Shown({
      actions: [
        { ...action, state: 'running' },
        { ...action, id: '2', state: 'failed', error: { message: 'No room.', hint: 'Wait.' } },
        { ...action, id: '3', state: 'done' },
      ],
    });

    expect([...root.querySelectorAll('.conduit-actions li')].map((li) => li.textContent)).toEqual([
      'deploy m/one: under way …',
      'deploy m/one: No room. Wait.',
    ]);
  });

  it.each(HOSTILE)('shows foreign text as text', (text) => {
    const hostile = deployment({
      key: text,
      name: text,
      status: text,
      detail: text,
      device: text,
      region: text,
      models: { [text]: text },
    });
    const shown = new Shown({
      deployments: [hostile],
      look_failures: [text],
      urls: { [text]: text },
    });
    found(shown.root, '[data-do=logs]').click();
    shown.watched.get(text)?.([text, text]);

    expect(shown.root.querySelector('script, img, svg, iframe, a, b')).toBeNull();
    expect(shown.root.textContent.length).toBeLessThan(20_000);
    for (const one of shown.root.querySelectorAll('*')) {
      expect(one.getAttributeNames().filter((name) => name.startsWith('on'))).toEqual([]);
    }
  });

  it('gives every button a name of its own, which begins with what is seen of it', () => {
    const { root } = Shown.of(deployment(), deployment({ key: 'b', name: 'other' }));
    const buttons = [...root.querySelectorAll('button')];
    const names = buttons.map((one) => one.getAttribute('aria-label') ?? '');

    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain('Terminate: other');
    for (const one of buttons.filter((other) => other.dataset['do'] !== 'logs')) {
      expect(one.getAttribute('aria-label')?.startsWith(one.textContent)).toBe(true);
    }
  });

  it('keeps of one that stays what people have opened, while another ends', () => {
    const shown = Shown.of(deployment({ key: 'a' }), deployment({ key: 'b' }));
    press(shown.root, 'logs', 'b');
    const log = found(shown.root, '[data-key=b] .conduit-log');
    shown.take(deployment({ key: 'b' }));

    expect(found(shown.root, '.conduit-log')).toBe(log);
  });
});

describe('the log', () => {
  it('is watched from the moment it is opened until its deployment is gone', () => {
    const shown = Shown.of(deployment());
    expect(shown.watched.size).toBe(0);
    press(shown.root, 'logs');
    expect(found(shown.root, '.conduit-log').textContent).toBe('Reading …');
    shown.watched.get('abcd1234')?.([]);
    expect(found(shown.root, '.conduit-log').textContent).toBe('The log is empty.');
    shown.take();
    expect(shown.watched.size).toBe(0);
    shown.take(deployment());

    expect(shown.root.querySelector('.conduit-log')).toBeNull();
  });

  it('of what boots is opened once by itself, where that is wanted', () => {
    const booting = [deployment({ status: 'launching' })];
    expect(new Shown({ deployments: booting }).watched.size).toBe(0);
    const shown = new Shown({ deployments: booting }, { opensBootLogs: true });
    expect([...shown.watched.keys()]).toEqual(['abcd1234']);
    press(shown.root, 'logs');
    shown.draw();

    expect(shown.watched.size).toBe(0);
  });
});

describe('what can be done', () => {
  it.each([
    ['running', ['extend', 'restart', 'stop', 'terminate']],
    ['stopped', ['start', 'terminate']],
    ['launching', ['terminate']],
    ['terminating', ['terminate']],
  ])('with a deployment that is %s', (status, verbs) => {
    expect(verbsFor(deployment({ status }))).toEqual(verbs);
  });

  it('with a shared server', () => {
    expect(verbsFor(deployment({ id: null }))).toEqual(['stop']);
  });
});
