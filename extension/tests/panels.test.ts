import { beforeEach, describe, expect, it, vi } from 'vitest';

import deploymentPanel from '../../conduit_nb/notebook/panels/deployment_panel.js';
import offeringTable from '../../conduit_nb/notebook/panels/offering_table.js';
import { HOSTILE } from './samples.js';

const COLUMNS = [
  'key',
  'fits',
  'why',
  'gpu',
  'count',
  'gib',
  'usd_per_hour',
  'usd_per_gib',
  'usd_per_mtok',
  'tokens_per_s',
  'speed_range',
  'availability',
  'as_of',
  'region',
  'provider',
  'launchable',
];

/** The kernel's end of a widget. */
class Kernel {
  readonly said: Record<string, unknown>[] = [];
  readonly el = document.createElement('div');
  private readonly listeners = new Map<string, ((...told: unknown[]) => void)[]>();

  readonly model = {
    get: (): string => '2026-11-27T14:02:00Z',
    send: (message: object): void => void this.said.push({ ...message }),
    on: (name: string, listener: (...told: unknown[]) => void): void => {
      this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
    },
    off: (name: string, listener: (...told: unknown[]) => void): void => {
      const left = (this.listeners.get(name) ?? []).filter((one) => one !== listener);
      this.listeners.set(name, left);
    },
  };

  /** What was said, without that somebody looks. */
  asked(): Record<string, unknown>[] {
    return this.said.filter(({ kind }) => kind !== 'look' && kind !== 'gone');
  }

  constructor() {
    document.body.replaceChildren(this.el);
  }

  tell(kind: string, content: object): void {
    this.fire('msg:custom', { kind, ...content });
  }

  fire(name: string, told?: unknown): void {
    for (const listener of this.listeners.get(name) ?? []) {
      listener(told);
    }
  }

  find(selector: string): HTMLElement {
    const found = this.el.querySelector<HTMLElement>(selector);
    if (!found) {
      throw new Error(`there is no ${selector}`);
    }
    return found;
  }

  press(name: RegExp): void {
    const buttons = [...this.el.querySelectorAll('button')];
    const found = buttons.find((one) =>
      name.test(one.getAttribute('aria-label') ?? one.textContent),
    );
    if (!found) {
      throw new Error(`there is no button ${String(name)}`);
    }
    found.click();
  }

  rows(column: number): string[] {
    const rows = [...this.el.querySelectorAll('tr[data-key]')];
    return rows.map((row) => row.children[column]?.textContent ?? '');
  }
}

function row(key: string, usd: number, rest: Record<string, unknown> = {}): unknown[] {
  const one: Record<string, unknown> = {
    key,
    fits: true,
    why: '',
    gpu: `GPU ${key}`,
    count: 1,
    gib: 22,
    usd_per_hour: usd,
    usd_per_gib: usd / 22,
    usd_per_mtok: null,
    tokens_per_s: null,
    speed_range: '',
    availability: 'high',
    as_of: null,
    region: 'EU',
    provider: 'runpod',
    launchable: true,
    ...rest,
  };
  return COLUMNS.map((name) => one[name]);
}

function table(rows: unknown[][]): object {
  return {
    title: 'offerings',
    at: '2026-11-27T14:02:00Z',
    has_plan: true,
    can_deploy: true,
    columns: COLUMNS,
    rows,
    failures: [],
  };
}

describe('the table of offerings', () => {
  let kernel: Kernel;
  beforeEach(() => {
    kernel = new Kernel();
    offeringTable.render(kernel);
  });

  it('asks for its rows when it is there', () => {
    expect(kernel.asked()).toEqual([{ kind: 'here' }]);
  });

  it('sorts by a column, the other way, and not at all', () => {
    kernel.tell('table', table([row('b', 2), row('a', 1), row('c', 3)]));
    const sorted = (): string[] => {
      kernel.press(/^Dollars per hour: sort/);
      return kernel.rows(4);
    };

    expect([sorted(), sorted(), sorted()]).toEqual([
      ['1.00', '2.00', '3.00'],
      ['3.00', '2.00', '1.00'],
      ['2.00', '1.00', '3.00'],
    ]);
  });

  it('puts what is not known last, whichever way it is sorted', () => {
    kernel.tell(
      'table',
      table([row('a', 1), row('b', 2, { tokens_per_s: 5 }), row('c', 3, { tokens_per_s: 9 })]),
    );

    kernel.press(/^Tokens per second/);
    expect(kernel.rows(7)).toEqual(['5', '9', '']);
    kernel.press(/^Tokens per second/);
    expect(kernel.rows(7)).toEqual(['9', '5', '']);
  });

  it('searches and filters', () => {
    kernel.tell(
      'table',
      table([
        row('a', 1),
        row('b', 2, { fits: false, why: 'too small' }),
        row('c', 3, { provider: 'aws', launchable: false }),
      ]),
    );
    const search = kernel.find('input[type=search]') as HTMLInputElement;
    search.value = 'aws gpu';
    search.dispatchEvent(new Event('input'));
    expect(kernel.rows(1)).toEqual(['GPU c']);
    search.value = '';
    const [fits, here] = kernel.el.querySelectorAll<HTMLInputElement>('input[type=checkbox]');
    fits?.click();
    expect(kernel.rows(1)).toEqual(['GPU a', 'GPU c']);
    here?.click();
    expect(kernel.rows(1)).toEqual(['GPU a']);
  });

  it('marks what has changed, and says what is new and gone', () => {
    kernel.tell('table', table([row('a', 1), row('b', 2), row('c', 3)]));
    kernel.tell('table', table([row('a', 1.5), row('b', 2), row('d', 3)]));

    const changed = [...kernel.el.querySelectorAll('.conduit-changed')];
    expect(changed.map((cell) => [cell.textContent, cell.getAttribute('title')])).toEqual([
      ['1.50', 'was 1'],
    ]);
    expect(kernel.find('.conduit-status').textContent).toContain('1 changed, 1 new, 1 gone');
  });

  it('draws what is in sight of ten thousand, and says how many there are', () => {
    kernel.tell('table', table(Array.from({ length: 10_000 }, (_, at) => row(`${at}`, at))));

    expect(kernel.rows(0).length).toBeLessThan(100);
    expect(kernel.find('table').getAttribute('aria-rowcount')).toBe('10001');
    expect(kernel.find('.conduit-status').textContent).toContain('10,000 offerings');
  });

  it('deploys on a row only when asked twice', () => {
    kernel.tell('table', table([row('a', 1)]));
    const grid = kernel.find('table');
    const enter = (): void => {
      grid.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', cancelable: true }));
    };
    enter();
    expect(kernel.el.textContent).toContain('No offering is selected.');
    grid.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown' }));
    enter();
    expect(kernel.el.textContent).toContain('Deploy on GPU a at runpod, EU for $1.00/h?');
    expect(document.activeElement?.textContent).toBe('Cancel');
    expect(kernel.asked()).toHaveLength(1);
    kernel.press(/^Deploy$/);
    expect(kernel.asked()[1]).toEqual({ kind: 'deploy', key: 'a' });
  });

  it('refuses what does not fit, with the reason', () => {
    kernel.tell('table', table([row('a', 1, { fits: false, why: 'sold out' })]));
    kernel.find('tr[data-key] td').click();
    kernel.press(/^Deploy on the selected/);

    expect(kernel.el.textContent).toContain('It cannot be started here: sold out.');
  });

  it.each(HOSTILE)('shows foreign text as text', (text) => {
    const hostile = { gpu: text, region: text, provider: text, why: text, availability: text };
    kernel.tell('table', {
      ...table([row(text, 1, hostile)]),
      title: text,
      failures: [{ provider: text, message: text, hint: text }],
    });
    kernel.tell('problem', { message: text, hint: text });

    expect(kernel.el.querySelector('script, img, svg, iframe, a')).toBeNull();
  });
});

describe('the connection', () => {
  it('is gone when the kernel is silent, and back with its next beat', () => {
    vi.useFakeTimers();
    const kernel = new Kernel();
    offeringTable.render(kernel);
    kernel.tell('table', table([row('a', 1)]));
    const line = kernel.find('.conduit-connection');
    expect(line.hidden).toBe(true);

    vi.advanceTimersByTime(20_000);
    expect(line.hidden).toBe(false);
    expect(line.textContent).toContain('Disconnected, last seen');
    kernel.fire('change:seen_at');
    expect(line.hidden).toBe(true);
    kernel.fire('comm_live_update');
    expect(line.hidden).toBe(false);
    vi.useRealTimers();
  });

  it('says that it is looked at while it is, and that it is gone when it is', () => {
    vi.useFakeTimers();
    const kernel = new Kernel();
    const end = offeringTable.render(kernel);
    const looks = (): unknown[] => kernel.said.filter(({ kind }) => kind === 'look');
    expect(looks()).toEqual([]);

    kernel.fire('change:seen_at');
    expect(looks()).toHaveLength(1);
    for (let beat = 0; beat < 13; beat += 1) {
      vi.advanceTimersByTime(5_000);
      kernel.fire('change:seen_at');
    }
    expect(looks()).toHaveLength(2);

    end();
    expect(kernel.said.at(-1)).toEqual({ ...kernel.said.at(-2), kind: 'gone' });
    vi.advanceTimersByTime(120_000);
    expect(looks()).toHaveLength(2);
    vi.useRealTimers();
  });

  it('takes back a question that nobody can answer any more, and asks nobody', () => {
    const kernel = new Kernel();
    offeringTable.render(kernel);
    expect(kernel.find('.conduit-status').textContent).toContain('Without a kernel');
    kernel.tell('table', table([row('a', 1)]));
    kernel.find('tr[data-key] td').click();
    kernel.press(/^Deploy on the selected/);
    expect(kernel.el.querySelector('.conduit-confirm')).not.toBeNull();

    kernel.fire('comm_live_update');

    expect(kernel.el.querySelector('.conduit-confirm')).toBeNull();
    expect(kernel.asked()).toEqual([{ kind: 'here' }]);
  });
});

const DEPLOYMENT = {
  key: 'abc',
  id: 'abc',
  name: 'mine',
  provider: 'runpod',
  runtime: 'vllm',
  status: 'running',
  device: 'L40S',
  region: 'EU',
  nodes: '1/1',
  models: { 'm/one': 'ready' },
  usd_per_hour: 0.42,
  lease_until: new Date(Date.now() + 40 * 60_000).toISOString(),
  detail: '',
};

function overview(...deployments: object[]): object {
  return {
    deployments,
    usd_per_hour: 0.42,
    spent: { abc: 1.26 },
    today_usd: 1.26,
    day_cap_usd: 10,
    urls: { abc: 'https://somewhere' },
    as_of: new Date().toISOString(),
    look_failures: [],
  };
}

describe('the panel of deployments', () => {
  let kernel: Kernel;
  beforeEach(() => {
    kernel = new Kernel();
    deploymentPanel.render(kernel);
    kernel.tell('choices', { runtimes: ['lmlite', 'vllm'], model: 'owner/m' });
  });

  it('says what runs, what it costs, and when it ends', () => {
    kernel.tell('overview', overview(DEPLOYMENT));

    const card = kernel.find('article').textContent;
    for (const part of ['mine (vllm)', 'running', '$0.42/h', '$1.26 so far', 'ends in 40 min']) {
      expect(card).toContain(part);
    }
    expect(kernel.find('.conduit-total').textContent).toBe(
      '$0.42/h, 1 deployment; $1.26 of $10.00 today',
    );
  });

  it('never says running when its kernel is gone', () => {
    kernel.tell('overview', overview(DEPLOYMENT));
    kernel.fire('comm_live_update');

    expect(kernel.find('.conduit-state').textContent).toMatch(/^disconnected, last seen /);
    expect(kernel.find('article').textContent).not.toContain('so far');
    expect([...kernel.el.querySelectorAll('button')].every((one) => one.disabled)).toBe(true);
  });

  it('plans, and deploys on what is picked', () => {
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

    expect(kernel.asked().at(-1)).toEqual({ kind: 'deploy', key: 'a' });
  });

  it('ends a deployment only when asked twice, and extends at once', () => {
    kernel.tell('overview', overview(DEPLOYMENT));
    kernel.press(/^Extend mine/);
    expect(kernel.asked().at(-1)).toEqual({ kind: 'act', key: 'abc', word: 'extend' });
    kernel.press(/^Terminate mine/);
    expect(kernel.asked().at(-1)).toHaveProperty('word', 'extend');
    kernel.press(/^Terminate$/);
    expect(kernel.asked().at(-1)).toEqual({ kind: 'act', key: 'abc', word: 'terminate' });
  });

  it('shows the log of what boots, and the answer as it comes', () => {
    kernel.tell('overview', overview({ ...DEPLOYMENT, status: 'launching' }));
    expect((kernel.find('details') as HTMLDetailsElement).open).toBe(true);
    kernel.tell('logs', { key: 'abc', lines: ['one', 'two'] });
    expect(kernel.find('pre').textContent).toBe('one\ntwo');

    kernel.tell('overview', overview(DEPLOYMENT));
    (kernel.find('textarea') as HTMLTextAreaElement).value = 'Hello?';
    kernel.press(/^Ask the model/);
    expect(kernel.asked().at(-1)).toEqual({
      kind: 'ask',
      key: 'abc',
      model: 'm/one',
      text: 'Hello?',
    });
    kernel.tell('answer', { key: 'abc', text: 'Good ' });
    kernel.tell('answer', { key: 'abc', text: 'day', state: 'done' });
    expect(kernel.find('[aria-label=Answer]').textContent).toBe('Good day');
  });

  it('takes away what has ended', () => {
    kernel.tell('overview', overview(DEPLOYMENT));
    kernel.tell('overview', { ...overview(), usd_per_hour: 0 });

    expect(kernel.el.querySelector('article')).toBeNull();
    expect(kernel.find('.conduit-total').textContent).toContain('Nothing runs');
  });

  it.each(HOSTILE)('shows foreign text as text', (text) => {
    kernel.tell(
      'overview',
      overview({ ...DEPLOYMENT, name: text, detail: text, region: text, models: { [text]: text } }),
    );
    kernel.tell('logs', { key: 'abc', lines: [text] });
    kernel.tell('answer', { key: 'abc', text });
    kernel.tell('action', { text });

    expect(kernel.el.querySelector('script, img, svg, iframe, a')).toBeNull();
    expect(kernel.find('h4').textContent).toBe(`${text} (vllm)`);
  });
});
