import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import deploymentPanel from '../../src/panels/deployment_panel.js';
import { plain } from '../../src/shared/text.js';
import type { Deployment, Overview } from '../../src/shared/wire.js';
import {
  HOSTILE,
  OPTIONS,
  deployment,
  fill,
  overview as overviewOf,
  press,
  settled,
} from '../samples.js';
import { Kernel, row, table } from './kernel.js';

const DEPLOYMENT = deployment({
  key: 'abc',
  id: 'abc',
  name: 'mine',
  runtime: 'vllm',
  models: { 'm/one': 'ready' },
});

function overview(...deployments: Deployment[]): Overview {
  return overviewOf({ deployments, urls: { abc: 'https://somewhere' } });
}

function deploys(key: string, options: object = {}): object {
  return { kind: 'deploy', key, request: { ...options, models: ['owner/m'] } };
}

describe('the panel of deployments', () => {
  let kernel: Kernel;
  let close: () => void;

  beforeEach(() => {
    kernel = new Kernel();
    close = deploymentPanel.render(kernel);
    kernel.tell('choices', { runtimes: ['lmlite', 'vllm'], model: 'owner/m', options: OPTIONS });
  });

  afterEach(() => {
    close();
  });

  it('says what runs, what it costs, and when it ends', () => {
    kernel.tell('overview', overview(DEPLOYMENT));

    const card = kernel.find('.conduit-item').textContent;
    for (const part of ['mine', 'vllm', 'running', '$0.42/h', '$1.26 so far', 'ends in 38 min']) {
      expect(card).toContain(part);
    }
    expect(card).toContain('Endpoint: https://somewhere');
    expect(kernel.find('.conduit-summary').textContent).toContain('$1.26 today of $10.00');
  });

  it('never says running when its kernel is gone', () => {
    kernel.tell('overview', overview(DEPLOYMENT));
    kernel.fire('comm_live_update');

    expect(kernel.find('.conduit-state').textContent).toMatch(/^last seen running at \d/);
    expect(kernel.find('.conduit-problem').textContent).toMatch(/^Disconnected, last seen \d/);
    expect(kernel.find('.conduit-item').textContent).not.toContain('so far');
    const controls = [...kernel.el.querySelectorAll('button, input, select, textarea')];
    expect(controls.filter((one) => !one.matches(':disabled'))).toEqual([]);
    kernel.tell('overview', overview(DEPLOYMENT));
    expect(kernel.find('.conduit-state').textContent).toBe('running');
    expect(kernel.el.querySelector('.conduit-problem')).toBeNull();
    expect(controls.filter((one) => one.matches(':disabled'))).toEqual([]);
  });

  it('plans, and deploys on what is picked', async () => {
    (kernel.find('form') as HTMLFormElement).requestSubmit();
    expect(kernel.asked().at(-1)).toEqual({
      kind: 'plan',
      model: 'owner/m',
      runtime: 'lmlite',
      fresh: false,
    });
    kernel.tell('table', table([row('a', 1)]));
    kernel.press(/^Ask every provider again/);
    expect(kernel.asked().at(-1)).toHaveProperty('fresh', true);
    kernel.find('tr[data-key] td').click();
    kernel.press(/^Deploy on the selected/);
    kernel.press(/^Deploy$/);
    await settled();

    expect(kernel.asked().at(-1)).toEqual(deploys('a'));
  });

  describe('deploying with options', () => {
    const view = (): unknown => kernel.said[0]?.['view'];
    const wrong = { code: 'argument', message: 'hours: -1', param: 'hours', key: 'a' };
    const hours = (): HTMLInputElement => kernel.find('[name=hours]') as HTMLInputElement;

    beforeEach(async () => {
      kernel.tell('table', table([row('a', 1), row('b', 2)]));
      kernel.find('tr[data-key] td').click();
      kernel.press(/^Deploy on the selected/);
      fill(kernel.el, 'hours', '-1');
      fill(kernel.el, 'image', 'mine:1');
      kernel.press(/^Deploy$/);
      await settled();
    });

    it('sends what was filled in', () => {
      expect(kernel.asked().at(-1)).toEqual(deploys('a', { hours: '-1', image: 'mine:1' }));
      expect(kernel.el.querySelector('.conduit-options')).toBeNull();
    });

    it('comes back with the field at fault, and sends what is corrected', async () => {
      kernel.tell('problem', { ...wrong, form: view() });

      expect(document.activeElement).toBe(hours());
      expect(hours().getAttribute('aria-invalid')).toBe('true');
      expect(kernel.el.querySelectorAll('[role=alert]')).toHaveLength(1);
      expect(kernel.find('.conduit-field [role=alert]').textContent).toBe('hours: -1');
      kernel.tell('table', { ...table([row('a', 1)]), models: ['another/m'] });
      fill(kernel.el, 'hours', '1');
      kernel.press(/^Deploy$/);
      await settled();
      expect(kernel.asked().at(-1)).toEqual(deploys('a', { hours: '1', image: 'mine:1' }));
    });

    it('says what is at fault in no field, and has what was typed for the next trial', () => {
      kernel.tell('problem', { message: 'sold out', param: null, key: 'a', form: view() });

      expect(kernel.el.querySelector('.conduit-options')).toBeNull();
      expect(kernel.find('[role=alert]').textContent).toBe('sold out');
      kernel.press(/^Deploy on the selected/);
      expect(hours().value).toBe('-1');
    });

    it('is empty for the next deployment', () => {
      kernel.press(/^Deploy on the selected/);

      expect(hours().value).toBe('');
    });

    it('leaves a form alone that is filled in by now, and the form of another view', () => {
      kernel.tell('problem', { ...wrong, form: 'another' });
      kernel.tell('problem', { ...wrong, form: view(), key: 'b' });
      expect(kernel.el.querySelector('.conduit-options')).toBeNull();
      kernel.press(/^Deploy on the selected/);
      fill(kernel.el, 'hours', '3');
      kernel.tell('problem', { ...wrong, form: view() });

      expect([hours().value, hours().getAttribute('aria-invalid')]).toEqual(['3', null]);
      expect(kernel.find('[role=alert]').textContent).toBe('hours: -1');
    });

    it('takes the focus from nobody who is elsewhere by now', () => {
      const elsewhere = document.createElement('input');
      document.body.append(elsewhere);
      elsewhere.focus();
      kernel.tell('problem', { ...wrong, form: view() });

      expect(document.activeElement).toBe(elsewhere);
      expect(kernel.find('[role=alert]').textContent).toBe('hours: -1');
      kernel.press(/^Deploy on the selected/);
      expect(hours().getAttribute('aria-invalid')).toBe('true');
    });

    it('has what was typed when it was cancelled', () => {
      kernel.press(/^Deploy on the selected/);
      fill(kernel.el, 'hours', '3');
      kernel.press(/^Cancel$/);
      kernel.press(/^Deploy on the selected/);

      expect(hours().value).toBe('3');
    });
  });

  it('ends a deployment only when asked twice, and extends at once', async () => {
    kernel.tell('overview', overview(DEPLOYMENT));
    press(kernel.el, 'extend', 'abc');
    expect(kernel.asked().at(-1)).toEqual({ kind: 'act', key: 'abc', verb: 'extend' });
    press(kernel.el, 'terminate', 'abc');
    expect(kernel.asked().at(-1)).toHaveProperty('verb', 'extend');
    kernel.press(/^Terminate$/);
    await settled();
    expect(kernel.asked().at(-1)).toEqual({ kind: 'act', key: 'abc', verb: 'terminate' });
  });

  it('ends everything only when asked twice, and says what that is and costs', async () => {
    expect(kernel.el.querySelector('[data-do=terminate-all]')).toBeNull();
    kernel.tell('overview', overview(DEPLOYMENT));
    press(kernel.el, 'terminate-all');
    expect(kernel.find('.conduit-confirm').textContent).toContain(
      'Terminate all? This ends mine for good and deletes the disks. Billing of $0.42/h stops.',
    );
    expect(kernel.asked()).toHaveLength(1);
    kernel.press(/^Terminate all$/);
    await settled();

    expect(kernel.asked().at(-1)).toEqual({ kind: 'act', key: 'all', verb: 'terminate' });
  });

  it('asks one thing at a time: a yes to one is never a yes to another', async () => {
    kernel.tell('overview', overview(DEPLOYMENT));
    kernel.tell('table', table([row('a', 1)]));
    press(kernel.el, 'terminate', 'abc');
    kernel.find('tr[data-key] td').click();
    kernel.press(/^Deploy on the selected/);
    expect(kernel.el.querySelectorAll('.conduit-confirm')).toHaveLength(1);
    kernel.press(/^Deploy$/);
    await settled();

    expect(kernel.asked().slice(1)).toEqual([deploys('a')]);
  });

  it('takes back a question that nobody can answer any more', () => {
    kernel.tell('overview', overview(DEPLOYMENT));
    press(kernel.el, 'terminate', 'abc');
    kernel.fire('comm_live_update');

    expect(kernel.el.querySelector('.conduit-confirm')).toBeNull();
  });

  it('shows the log of what boots, and closes it when it is pressed', () => {
    kernel.tell('overview', overview({ ...DEPLOYMENT, status: 'launching' }));
    expect(kernel.asked().at(-1)).toEqual({ kind: 'logs', key: 'abc', open: true });
    kernel.tell('logs', { key: 'abc', lines: ['one', 'two'] });
    expect(kernel.find('.conduit-log').textContent).toBe('one\ntwo');
    press(kernel.el, 'logs', 'abc');

    expect(kernel.asked().at(-1)).toEqual({ kind: 'logs', key: 'abc', open: false });
    expect(kernel.el.querySelector('.conduit-log')).toBeNull();
  });

  it('asks a model what is typed, and shows the answer as it comes', () => {
    kernel.tell('overview', overview(DEPLOYMENT));
    const question = kernel.find('textarea') as HTMLTextAreaElement;
    kernel.press(/^Ask the model/);
    expect(document.activeElement).toBe(question);
    question.value = 'Hello?';
    kernel.press(/^Ask the model/);
    expect(kernel.asked().at(-1)).toEqual({
      kind: 'ask',
      key: 'abc',
      model: 'm/one',
      text: 'Hello?',
    });
    const ask = kernel.find('[data-do=ask]') as HTMLButtonElement;
    expect(ask.disabled).toBe(true);
    kernel.tell('answer', { key: 'abc', text: 'Good ' });
    const first = kernel.find('.conduit-answer').firstChild;
    kernel.tell('answer', { key: 'abc', text: 'day', state: 'done' });

    expect(kernel.find('[aria-label=Answer]').textContent).toBe('Good day');
    expect(kernel.find('.conduit-answer').firstChild).toBe(first);
    expect([ask.disabled, question.value]).toEqual([false, 'Hello?']);
  });

  it('says in the box why there is no answer, and can be asked again', () => {
    kernel.tell('overview', overview(DEPLOYMENT));
    (kernel.find('textarea') as HTMLTextAreaElement).value = 'Hello?';
    kernel.press(/^Ask the model/);
    const error = { message: 'It is gone.', hint: 'Start it.' };
    kernel.tell('answer', { key: 'abc', text: '', state: 'failed', error });

    expect(kernel.find('.conduit-answer').textContent).toBe('It is gone. Start it.');
    expect((kernel.find('[data-do=ask]') as HTMLButtonElement).disabled).toBe(false);
  });

  it('lets amounts grow by itself, until it is closed', () => {
    vi.useFakeTimers();
    const other = new Kernel();
    const end = deploymentPanel.render(other);
    other.tell('overview', overview({ ...DEPLOYMENT, usd_per_hour: 36 }));
    expect(other.find('.conduit-facts').textContent).toContain('$1.26 so far');
    vi.advanceTimersByTime(10_000);
    expect(other.find('.conduit-facts').textContent).toContain('$1.36 so far');
    end();

    const text = other.el.textContent;
    vi.advanceTimersByTime(10_000);
    expect(other.el.textContent).toBe(text);
    vi.useRealTimers();
  });

  it('takes away what has ended', () => {
    kernel.tell('overview', overview(DEPLOYMENT));
    kernel.tell('overview', { ...overview(), usd_per_hour: 0 });

    expect(kernel.el.querySelector('.conduit-item')).toBeNull();
    expect(kernel.el.textContent).toContain('Nothing runs');
  });

  it.each(HOSTILE)('shows foreign text as text', (text) => {
    kernel.tell(
      'overview',
      overview({ ...DEPLOYMENT, name: text, detail: text, region: text, models: { [text]: text } }),
    );
    press(kernel.el, 'logs');
    kernel.tell('logs', { key: 'abc', lines: [text] });
    (kernel.find('textarea') as HTMLTextAreaElement).value = 'Hello?';
    kernel.press(/^Ask the model/);
    kernel.tell('answer', { key: 'abc', text });
    kernel.tell('action', { text });

    expect(kernel.el.querySelector('script, img, svg, iframe, a')).toBeNull();
    expect(kernel.find('.conduit-name').textContent).toBe(plain(text, 120));
    expect(kernel.find('.conduit-log').textContent).toBe(plain(text));
  });
});
