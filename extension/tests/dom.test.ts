import { describe, expect, it } from 'vitest';

import { button, element, meantBy, show } from '../src/dom.js';
import { HOSTILE, found } from './samples.js';

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
    show(root, element('p', {}, 'one'), element('p', { class: 'a' }, 'two'));
    const [first, second] = [...root.children];

    show(root, element('p', {}, 'one'), element('p', { class: 'b' }, 'three'), 'end');

    expect([...root.children]).toEqual([first, second]);
    expect(root.innerHTML).toBe('<p>one</p><p class="b">three</p>end');
  });

  it('does not turn one thing into another', () => {
    const root = document.createElement('ul');
    show(root, element('li', { 'data-key': 'a' }, 'a'), element('li', { 'data-key': 'b' }, 'b'));
    const b = root.children[1];

    show(root, element('li', { 'data-key': 'b' }, 'b'));

    expect(root.children).toHaveLength(1);
    expect(root.textContent).toBe('b');
    expect(root.children[0]).not.toBe(b?.previousSibling);
  });

  it('takes away what is no more', () => {
    const root = document.createElement('div');
    show(root, 'a', element('b', {}, 'b'));
    show(root);

    expect(root.childNodes).toHaveLength(0);
  });

  it('leaves open what people have opened', () => {
    const root = document.createElement('div');
    show(root, element('details', {}, 'one'));
    found(root, 'details').setAttribute('open', '');
    show(root, element('details', {}, 'two'));

    expect(found(root, 'details').hasAttribute('open')).toBe(true);
  });
});
