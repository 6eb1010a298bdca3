/** A box below each deployment that asks its model something, and shows the answer as it comes. */

import { button, element, meantBy } from '../shared/dom.js';
import type { Child } from '../shared/dom.js';
import { labelled } from '../shared/offerings.js';
import { textOf } from '../shared/problem.js';
import { plain } from '../shared/text.js';
import type { Deployment } from '../shared/wire.js';
import type { Answer, Comm } from './comm.js';

interface Asked {
  /** Piece by piece, as it came: a screen reader reads what is added. */
  readonly pieces: string[];
  isOver: boolean;
}

export class TryBoxes {
  private readonly asked = new Map<string, Asked>();

  constructor(
    private readonly comm: Comm,
    private readonly changed: () => void,
  ) {}

  /** The box of a deployment that runs and has a model; null for others. */
  view(one: Deployment, name: string): Child {
    const models = Object.keys(one.models);
    if (one.status !== 'running' || models.length === 0) {
      return null;
    }
    const asked = this.asked.get(one.key);
    const options = models.map((model) =>
      element('option', { value: model, 'data-key': model }, plain(model, 120)),
    );
    return element(
      'details',
      { class: 'conduit-try' },
      element('summary', {}, 'Try it'),
      labelled('model', element('select', {}, ...options)),
      element('textarea', { rows: '2', 'aria-label': 'Question' }),
      button(
        'Ask',
        'ask',
        `Ask the model: ${name}`,
        asked && !asked.isOver ? { disabled: true } : {},
      ),
      asked &&
        element(
          'pre',
          { tabindex: '0', 'aria-label': 'Answer', 'aria-live': 'polite', class: 'conduit-answer' },
          ...(asked.pieces.length > 0 ? asked.pieces : ['…']),
        ),
    );
  }

  /** Asks what is typed in the box whose button was clicked, if one was. */
  press(event: Event): void {
    const meant = meantBy(event);
    const box = event.target instanceof Element ? event.target.closest('.conduit-try') : null;
    const question = box?.querySelector('textarea');
    const model = box?.querySelector('select');
    if (meant?.action !== 'ask' || !question || !model) {
      return;
    }
    if (!question.value.trim()) {
      question.focus();
      return;
    }
    this.asked.set(meant.key, { pieces: [], isOver: false });
    this.changed();
    this.comm.send({ kind: 'ask', key: meant.key, model: model.value, text: question.value });
  }

  /** Takes a piece of an answer. */
  take(answer: Answer): void {
    const asked = this.asked.get(answer.key);
    if (!asked) {
      return;
    }
    const pieces = [answer.text, answer.error ? textOf(answer.error) : ''];
    asked.pieces.push(...pieces.filter(Boolean).map((piece) => plain(piece)));
    asked.isOver ||= answer.state !== undefined;
    this.changed();
  }
}
