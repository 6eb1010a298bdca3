import { describe, expect, it } from 'vitest';

import { ApiError } from '../../src/api.js';
import { show } from '../../src/dom.js';
import { MOST_ROWS, offeringsView } from '../../src/panels/offerings.js';
import type { OfferingsState } from '../../src/panels/offerings.js';
import { HOSTILE, found, offering } from '../samples.js';

function drawn(state: OfferingsState): HTMLElement {
  const root = document.createElement('div');
  show(root, ...offeringsView(state));
  return root;
}

function rows(root: HTMLElement): string[][] {
  return [...root.querySelectorAll('tbody tr')].map((row) =>
    [...row.children].map((cell) => cell.textContent),
  );
}

describe('the list of prices', () => {
  it('asks nobody by itself', () => {
    expect(drawn('unasked').textContent).toBe('Ask for prices');
    expect(found(drawn('asking'), 'button').hasAttribute('disabled')).toBe(true);
  });

  it('shows what is offered and what can be started', () => {
    const root = drawn({
      offerings: [
        offering(),
        offering({ accelerator: 'H100', count: 8, launchable: false }),
        offering({ count: 2 }),
      ],
      failures: [],
    });

    expect(rows(root)).toEqual([
      ['runpod', 'L4', '24', '$0.42', 'high', 'CopyDeploy'],
      ['runpod', '8 × H100', '24', '$0.42', 'high', 'price only'],
      ['runpod', '2 × L4', '24', '$0.42', 'high', 'Copy'],
    ]);
  });

  it('says who did not answer, and that there is more', () => {
    const root = drawn({
      offerings: Array.from({ length: MOST_ROWS + 7 }, () => offering()),
      failures: [{ provider: 'aws', message: 'no key' }],
    });

    expect(rows(root)).toHaveLength(MOST_ROWS);
    expect(root.textContent).toContain('7 more');
    expect(found(root, '[role=status]').textContent).toBe('aws: no key');
  });

  it('says what went wrong', () => {
    expect(drawn(new ApiError(503, 'It is ill.', 'Wait.')).textContent).toContain(
      'It is ill. Wait.',
    );
    expect(drawn({ offerings: [], failures: [] }).textContent).toContain('Nothing is offered.');
  });

  it.each(HOSTILE)('shows foreign text as text', (text) => {
    const root = drawn({
      offerings: [offering({ provider: text, accelerator: text, availability: text })],
      failures: [{ provider: text, message: text }],
    });

    expect(root.querySelector('script, img, svg, iframe, a')).toBeNull();
    expect(root.textContent.length).toBeLessThan(5_000);
  });
});
