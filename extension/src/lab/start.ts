/** The sidebar's form: a model's id, and a button that starts it on this machine. */

import { button, element } from '../shared/dom.js';

const EXAMPLE = 'HuggingFaceTB/SmolLM2-135M-Instruct';

/** Is made once, so that what is typed stays while all around it is drawn anew. */
export class StartForm {
  private readonly input = element('input', {
    class: 'jp-Conduit-input',
    type: 'text',
    name: 'model',
    placeholder: EXAMPLE,
    autocomplete: 'off',
    spellcheck: 'false',
    maxlength: '400',
    'aria-label': "A model's id or folder",
  });

  readonly root = element(
    'form',
    { class: 'jp-Conduit-start', 'aria-label': 'Start a model' },
    this.input,
    button('Start here', 'start-here', 'Start the model on this machine, which costs nothing'),
  );

  /** Enter does what the button does. */
  constructor(start: () => void) {
    this.root.addEventListener('submit', (event) => {
      event.preventDefault();
      start();
    });
  }

  /** The id that is typed; where there is none, the focus goes where one is to be typed. */
  wanted(): string | null {
    const model = this.input.value.trim();
    if (model === '') {
      this.input.focus();
      return null;
    }
    return model;
  }

  /** The id that is typed, or nothing: for a cell that can be completed later. */
  get typed(): string | undefined {
    return this.input.value.trim() || undefined;
  }
}
