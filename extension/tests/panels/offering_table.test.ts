import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import offeringTable from '../../src/panels/offering_table.js';
import { HOSTILE, OPTIONS, fill, settled } from '../samples.js';
import { bringIntoSight } from '../setup.js';
import { Kernel, row, table } from './kernel.js';

describe('the table of offerings', () => {
  let kernel: Kernel;
  let close: () => void;

  beforeEach(() => {
    kernel = new Kernel();
    close = offeringTable.render(kernel);
  });

  afterEach(() => {
    close();
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
    search.dispatchEvent(new Event('input', { bubbles: true }));
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

  it('deploys on a row only when asked twice', async () => {
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
    await settled();
    expect(kernel.asked()[1]).toEqual({
      kind: 'deploy',
      key: 'a',
      request: { models: ['owner/m'] },
    });
  });

  it('deploys with the options that are filled in', async () => {
    kernel.tell('table', table([row('a', 1)]));
    kernel.tell('choices', { options: OPTIONS });
    kernel.find('tr[data-key] td').click();
    kernel.press(/^Deploy on the selected/);
    fill(kernel.el, 'hours', '2');
    kernel.press(/^Deploy$/);
    await settled();

    expect(kernel.asked()[1]).toHaveProperty('request', { hours: '2', models: ['owner/m'] });
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
  let kernel: Kernel;
  let close: () => void;

  beforeEach(() => {
    vi.useFakeTimers();
    kernel = new Kernel();
    close = offeringTable.render(kernel);
  });

  afterEach(() => {
    close();
    vi.useRealTimers();
  });

  const lost = (): string => kernel.el.querySelector('.conduit-problem')?.textContent ?? '';

  it('is gone when the kernel is silent, and back with its next beat', () => {
    kernel.tell('table', table([row('a', 1)]));
    expect(lost()).toBe('');

    vi.advanceTimersByTime(20_000);
    expect(lost()).toMatch(/^Disconnected, last seen \d/);
    kernel.fire('change:seen_at');
    expect(lost()).toBe('');
    kernel.fire('comm_live_update');
    expect(lost()).toMatch(/^Disconnected, last seen \d/);
  });

  it('tells the kernel that the view is seen, also where none answers, and that it is gone', () => {
    const kinds = (): unknown[] => kernel.said.map(({ kind }) => kind);
    bringIntoSight(kernel.el);
    expect(kinds()).toEqual(['here', 'seen']);

    kernel.fire('change:seen_at');
    close();
    bringIntoSight(kernel.el);

    expect(kinds()).toEqual(['here', 'seen', 'gone']);
    expect(new Set(kernel.said.map(({ view }) => view)).size).toBe(1);
  });

  it('may break while something is said', () => {
    kernel.model.send = () => {
      throw new Error('Cannot send');
    };
    bringIntoSight(kernel.el);

    expect(lost()).toMatch(/^Disconnected/);
  });

  it('takes back a question that nobody can answer any more, and asks nobody', () => {
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
