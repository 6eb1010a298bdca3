import { describe, expect, it } from 'vitest';

import { count, plain, span, usd } from '../src/words.js';
import { HOSTILE } from './samples.js';

describe('words', () => {
  it.each([
    [0, '$0.00'],
    [0.42, '$0.42'],
    [0.0042, '$0.0042'],
    [1234.5, '$1,234.50'],
  ])('say %d dollars', (amount, said) => {
    expect(usd(amount)).toBe(said);
  });

  it('say how many and how long', () => {
    expect([count(0, 'node'), count(1, 'node'), count(2, 'node')]).toEqual([
      '0 nodes',
      '1 node',
      '2 nodes',
    ]);
    expect([span(-3), span(8), span(720), span(12_600)]).toEqual(['0 s', '8 s', '12 min', '3.5 h']);
  });

  it.each(HOSTILE)('leave nothing in foreign text that changes other text', (text) => {
    const said = plain(text);

    expect(said.length).toBeLessThanOrEqual(2000);
    expect(said).not.toMatch(/[\u0000-\u0008\u001b\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
  });

  it('keep what is harmless as it is', () => {
    expect(plain('größer als 5 <b> \n\tändert nichts 漢字 🙂')).toBe(
      'größer als 5 <b> \n\tändert nichts 漢字 🙂',
    );
  });

  it('take quickly what is long', () => {
    const began = performance.now();
    plain('\u001b['.repeat(5_000_000));
    plain(' '.repeat(5_000_000));

    expect(performance.now() - began).toBeLessThan(500);
  });
});
