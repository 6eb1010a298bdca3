import { describe, expect, it } from 'vitest';

import { button, element, meantBy, show } from '../../src/shared/dom.js';
import { HOSTILE, found } from '../samples.js';

describe('elements', () => {
  it.each(HOSTILE)('show foreign text and nothing else', (text) => {
    const made = element('p', { title: text }, text);

    expect(made.children).toHaveLength(0);
    expect(made.textContent).toBe(text);
    expect(made.getAttributeNames()).toEqual(['title']);
  });

  it('leave out what is not there', () => {
    expect(element('p', { hidden: true, id: undefined }, null, false, 'x').outerHTML).toBe(
      '<p hidden="">x</p>',
    );
  });

  it('say what a click meant', () => {
    const root = element('div', {}, element('p', { 'data-key': 'k' }, button('Go', 'go')));
    const meant: unknown[] = [];
    root.addEventListener('click', (event) => meant.push(meantBy(event)));

    found(root, 'button').click();
    found(root, 'p').click();

    expect(meant).toEqual([{ action: 'go', key: 'k' }, null]);
  });
});

describe('showing', () => {
  it('keeps the elements that stay, and changes what differs', () => {
    const root = document.createElement('div');
    show(root, element('p', {}, 'one'), element('p', { class: 'a', title: 'x' }, 'two'));
    const [first, second] = [...root.children];

    show(root, element('p', {}, 'one'), element('p', { class: 'a', id: 'y' }, 'three'), 'end');

    expect([...root.children]).toEqual([first, second]);
    expect(root.innerHTML).toBe('<p>one</p><p class="a" id="y">three</p>end');
  });

  it('keeps what stands behind something that comes or goes', () => {
    const root = document.createElement('div');
    const detail = element('p', { class: 'detail' }, 'why');
    show(root, button('Go', 'go'), element('div', { class: 'end' }));
    const [go, end] = [...root.children];

    show(root, detail.cloneNode(true), button('Go', 'go'), element('div', { class: 'end' }));
    expect([...root.children].slice(1)).toEqual([go, end]);
    show(root, element('div', { class: 'end' }));

    expect([...root.children]).toEqual([end]);
  });

  it('does not turn one thing into another', () => {
    const root = document.createElement('ul');
    const item = (key: string): HTMLElement => element('li', { 'data-key': key }, key);
    show(root, item('a'), item('b'), item('c'));
    const [, b] = [...root.children];

    show(root, item('b'), item('d'));

    expect(root.children[0]).toBe(b);
    expect(root.textContent).toBe('bd');
  });

  it('takes away what is no more', () => {
    const root = document.createElement('div');
    show(root, 'a', element('b', {}, 'b'));
    show(root);

    expect(root.childNodes).toHaveLength(0);
  });

  it('leaves open what people have opened, and written what they have written', () => {
    const root = document.createElement('div');
    const box = (text: string): HTMLElement =>
      element('details', {}, element('summary', {}, text), element('textarea'));
    show(root, box('one'));
    found(root, 'details').setAttribute('open', '');
    const written = root.querySelector('textarea');
    if (written) {
      written.value = 'mine';
    }
    show(root, box('two'));

    expect(found(root, 'details').hasAttribute('open')).toBe(true);
    expect(root.querySelector('textarea')?.value).toBe('mine');
    expect(root.textContent).toBe('two');
  });
});
