/** The line that says what went wrong, and what to do. */

import { element } from './dom.js';
import { plain } from './text.js';
import type { Problem } from './wire.js';

const LONGEST = 500;

/** As an alert it interrupts a screen reader: for the answer to something that was just asked. */
export function problemView(
  problem: Problem,
  role: 'alert' | 'status' = 'status',
): HTMLParagraphElement {
  return element('p', { class: 'conduit-problem', role }, textOf(problem));
}

/** A problem as one piece of text. */
export function textOf({ message, hint }: Problem): string {
  return plain(hint ? `${message} ${hint}` : message, LONGEST);
}
