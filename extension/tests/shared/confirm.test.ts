import { beforeEach, describe, expect, it } from 'vitest';

import { InlineQuestion } from '../../src/shared/confirm.js';
import { button, element, show } from '../../src/shared/dom.js';
import { found, press, settled } from '../samples.js';

const QUESTION = { title: 'Terminate all?', body: 'This ends it.', accept: 'Terminate all' };

describe('a question in its place', () => {
  let root: HTMLElement;
  let questions: InlineQuestion;
  let answers: boolean[];

  beforeEach(() => {
    answers = [];
    root = document.createElement('div');
    document.body.replaceChildren(root);
    questions = new InlineQuestion(root, () => {
      draw();
    });
    draw();
    found(root, '[data-do=opener]').focus();
    void questions.ask(QUESTION, 'a').then((isYes) => answers.push(isYes));
  });

  function draw(): void {
    const place = (name: string): HTMLElement =>
      element('p', { 'data-key': name }, questions.view(name));
    show(root, button('Open', 'opener'), place('a'), place('b'));
  }

  it('stands where it was asked, with the focus on what changes nothing', () => {
    expect(found(root, '[data-key=a]').textContent).toBe(
      'Terminate all? This ends it.Terminate allCancel',
    );
    expect(found(root, '[data-key=b]').textContent).toBe('');
    expect(document.activeElement?.textContent).toBe('Cancel');
  });

  it.each([
    ['accept', true],
    ['cancel', false],
  ])('is answered once, by %s, and gives the focus back', async (action, isYes) => {
    press(root, action);
    questions.settle(true);
    await settled();

    expect(answers).toEqual([isYes]);
    expect(root.querySelector('.conduit-confirm')).toBeNull();
    expect(document.activeElement?.textContent).toBe('Open');
  });

  it('is a no by Escape, and by another question', async () => {
    const escape = new KeyboardEvent('keydown', { key: 'Escape', bubbles: true });
    document.activeElement?.dispatchEvent(escape);
    await settled();
    expect(answers).toEqual([false]);

    const first = questions.ask(QUESTION, 'a');
    const second = questions.ask(QUESTION, 'b');
    expect(await first).toBe(false);
    press(root, 'accept');

    expect(await second).toBe(true);
  });
});
