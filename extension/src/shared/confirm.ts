/** Questions before what costs or cannot be undone. */

import { button, element, meantBy } from './dom.js';
import type { Child } from './dom.js';
import type { OptionForm } from './option_form.js';

export interface Question {
  readonly title: string;
  readonly body: string;
  /** The label of the button that says yes. */
  readonly accept: string;
  /** What may be filled in before the yes; it has what was typed when the question is answered. */
  readonly form?: OptionForm;
}

/** Asks; `place` is where on the screen the answer belongs, such as a deployment's key. */
export type Ask = (question: Question, place: string) => Promise<boolean>;

interface Asked {
  readonly question: Question;
  readonly place: string;
  readonly answer: (isYes: boolean) => void;
  readonly focused: Element | null;
}

/**
 * One question at a time, drawn where it belongs: whatever draws that place has `view` in it.
 * Another question, and Escape, are a no to the one before.
 */
export class InlineQuestion {
  private asked: Asked | null = null;

  constructor(
    private readonly root: HTMLElement,
    private readonly redraw: () => void,
  ) {
    root.addEventListener('click', (event) => {
      const action = meantBy(event)?.action;
      if (action === 'accept' || action === 'cancel') {
        this.settle(action === 'accept');
      }
    });
    root.addEventListener('keydown', (event) => {
      const { target } = event;
      if (
        event.key === 'Escape' &&
        target instanceof Element &&
        target.closest('.conduit-confirm')
      ) {
        this.settle(false);
      }
    });
  }

  readonly ask: Ask = (question, place) => {
    const focused = this.root.ownerDocument.activeElement;
    this.settle(false);
    return new Promise((answer) => {
      this.asked = { question, place, answer, focused };
      this.redraw();
      // On what has to be corrected, or on what costs nothing: nobody rents or ends a machine by a
      // key too many.
      const [fault, cancel] = ['[aria-invalid=true]', '[data-do=cancel]'].map((which) =>
        this.root.querySelector<HTMLElement>(`.conduit-confirm ${which}`),
      );
      (fault ?? cancel)?.focus();
    });
  };

  get isAsking(): boolean {
    return this.asked !== null;
  }

  /** Answers what is asked, if anything is, and puts the focus back where it was. */
  settle(isYes: boolean): void {
    const asked = this.asked;
    if (!asked) {
      return;
    }
    asked.question.form?.keep(this.root);
    this.asked = null;
    this.redraw();
    if (asked.focused instanceof HTMLElement && this.root.contains(asked.focused)) {
      asked.focused.focus();
    }
    asked.answer(isYes);
  }

  /** The question, where it was asked for this place. */
  view(place: string): Child {
    if (this.asked?.place !== place) {
      return null;
    }
    const { title, body, accept, form } = this.asked.question;
    const text = `${title} ${body}`.trim();
    return element(
      'div',
      { class: 'conduit-confirm', role: 'group', 'aria-label': text },
      element('span', {}, text),
      form?.view(),
      button(accept, 'accept'),
      button('Cancel', 'cancel'),
    );
  }
}
