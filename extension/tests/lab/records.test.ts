import { describe, expect, it } from 'vitest';

import { RECEIPT_TYPE, TABLE_TYPE, recordView } from '../../src/lab/records.js';
import { HOSTILE } from '../samples.js';

describe('documents that a notebook keeps', () => {
  it('are drawn as a table', () => {
    const view = recordView(TABLE_TYPE, {
      columns: ['name', 'usd'],
      rows: [
        ['one', 1],
        ['two', null],
      ],
      caption: 'Costs',
    });

    expect([...(view?.querySelectorAll('th') ?? [])].map((cell) => cell.textContent)).toEqual([
      'name',
      'usd',
    ]);
    expect([...(view?.querySelectorAll('td') ?? [])].map((cell) => cell.textContent)).toEqual([
      'one',
      '1',
      'two',
      '',
    ]);
    expect(view?.querySelector('caption')?.textContent).toBe('Costs');
  });

  it('are drawn as a receipt', () => {
    const view = recordView(RECEIPT_TYPE, {
      model: 'm/one',
      usd: 0.11,
      runtime: { name: 'lmlite' },
    });

    expect(view?.textContent).toContain('m/one');
    expect(view?.textContent).toContain('{"name":"lmlite"}');
  });

  it('stand folded below the line that a receipt belongs to', () => {
    const view = recordView(RECEIPT_TYPE, { model: 'm/one' }, '2 of 2 rows; out is bound');

    expect(view?.firstElementChild?.textContent).toBe('2 of 2 rows; out is bound');
    expect(view?.querySelector('details')?.open).toBe(false);
    expect(view?.querySelector('details')?.textContent).toContain('m/one');
  });

  it.each([null, 3, 'text', [], { columns: 1 }, { columns: [], rows: 'x' }])(
    'are left to others where they are none',
    (data) => {
      expect(recordView(TABLE_TYPE, data)).toBeNull();
    },
  );

  it('say how many rows are not shown', () => {
    const rows = Array.from({ length: 700 }, (_, index) => [index]);

    expect(recordView(TABLE_TYPE, { columns: ['n'], rows })?.textContent).toContain(
      '200 rows more.',
    );
  });

  it.each(HOSTILE)('show foreign text as text', (text) => {
    const table = recordView(TABLE_TYPE, { columns: [text], rows: [[text]], caption: text });
    const receipt = recordView(RECEIPT_TYPE, { [text]: text });

    for (const view of [table, receipt]) {
      expect(view?.querySelector('script, img, svg, iframe, a')).toBeNull();
      expect(view?.textContent.length).toBeLessThan(10_000);
    }
  });
});
