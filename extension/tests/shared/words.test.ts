import { describe, expect, it } from 'vitest';

import { plain } from '../../src/shared/text.js';
import { clock, count, span, usd } from '../../src/shared/words.js';
import { HOSTILE } from '../samples.js';
import cases from '../words.json';

/** The same table is held against the Python side: tests/test_units.py, tests/test_plain_text.py. */
describe('what Python says, too', () => {
  it.each(cases.usd as [number, string][])('%d dollars', (amount, said) => {
    expect(usd(amount)).toBe(said);
  });

  it.each(cases.plain as [string, string][])('foreign text %j', (text, said) => {
    expect(plain(text)).toBe(said);
  });
});

describe('words', () => {
  it('say how many and how long', () => {
    expect([count(0, 'node'), count(1, 'node'), count(1240, 'row')]).toEqual([
      '0 nodes',
      '1 node',
      '1,240 rows',
    ]);
    expect([-3, 8, 89, 90, 720, 12_600, 300_000].map(span)).toEqual([
      '0 s',
      '8 s',
      '89 s',
      '2 min',
      '12 min',
      '3.5 h',
      '3 days',
    ]);
  });

  it("say a moment by the reader's clock, and that there was none", () => {
    expect(clock('2026-11-27T12:00:00Z')).toBe(clock(Date.parse('2026-11-27T12:00:00Z')));
    expect(clock('')).toBe('never');
  });
});

describe('foreign text', () => {
  it.each(HOSTILE)('is cut, and changes no other text', (text) => {
    const said = plain(text);

    expect(said.length).toBeLessThanOrEqual(2000);
    expect(said).not.toMatch(/[\u0000-\u0008\u001b\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
  });

  it('is cut between letters, not within one', () => {
    expect(plain('ab🎉cd', 4)).toBe('ab\ufffd…');
  });

  it('takes little time, however long it is', () => {
    const began = performance.now();
    plain('\u001b['.repeat(5_000_000));
    plain(' '.repeat(5_000_000));

    expect(performance.now() - began).toBeLessThan(500);
  });
});
