import { afterEach, describe, expect, it, vi } from 'vitest';

import { beginDrag } from '../../src/lab/drag.js';
import { element, button } from '../../src/shared/dom.js';
import { found } from '../samples.js';

const started: { cells: unknown; text: unknown }[] = [];

vi.mock('@lumino/dragdrop', () => ({
  // Lumino's own drag needs a layout engine, which jsdom has not; the browser's tests drop for real.
  Drag: class {
    constructor(options: { mimeData: { getData(type: string): unknown } }) {
      started.push({
        cells: options.mimeData.getData('application/vnd.jupyter.cells'),
        text: options.mimeData.getData('text/plain'),
      });
    }
    start(): Promise<void> {
      return Promise.resolve();
    }
    dispose(): void {
      started.splice(0, 0);
    }
  },
}));

function press(target: Element, at: number, release = false): void {
  const where = { bubbles: true, cancelable: true, clientX: at, clientY: 0 };
  target.dispatchEvent(new MouseEvent('mousedown', { ...where, clientX: 0 }));
  if (release) {
    document.dispatchEvent(new MouseEvent('mouseup', where));
  }
  document.dispatchEvent(new MouseEvent('mousemove', where));
  document.dispatchEvent(new MouseEvent('mouseup', where));
}

describe('dragging', () => {
  const root = element('div', {}, element('p', { class: 'item' }, 'x', button('b', 'b')));
  beginDrag(root, (target) =>
    target instanceof Element && target.closest('.item') ? '1 + 1\n2' : null,
  );

  afterEach(() => {
    started.length = 0;
  });

  it('takes a cell along', () => {
    press(found(root, '.item'), 20);

    expect(started).toHaveLength(1);
    expect(started[0]?.text).toBe('1 + 1\n2');
    expect(started[0]?.cells).toMatchObject([{ cell_type: 'code', source: '1 + 1\n2' }]);
  });

  it.each([
    ['a click', '.item', 2, false],
    ['a press on a button', 'button', 20, false],
    ['a move after the release', '.item', 20, true],
  ])('is not %s', (_, selector, at, release) => {
    press(found(root, selector), at, release);

    expect(started).toEqual([]);
  });

  it('is not from where there is no cell', () => {
    press(root, 20);

    expect(started).toEqual([]);
  });
});
