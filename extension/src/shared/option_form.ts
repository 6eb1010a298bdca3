/**
 * A form made of the options of a deployment: the basic ones first, the others under a disclosure.
 *
 * It is drawn anew at every look, as all views are, and brought up to date in place. What is typed
 * is read from the page by `keep`, and stands there again when the form is drawn the next time.
 */

import { element } from './dom.js';
import type { Attributes, Child } from './dom.js';
import { textOf } from './problem.js';
import { plain } from './text.js';
import type { FormOption, OptionKind, Problem } from './wire.js';

/** What was filled in, by the options' names, as text: the server reads all kinds from texts. */
export type Filled = Readonly<Record<string, string>>;

const NUMBERS: readonly OptionKind[] = ['count', 'whole', 'number', 'usd', 'hours', 'seconds'];
const LONGEST_NAME = 80;

export class OptionForm {
  private options: readonly FormOption[] = [];
  private filled = new Map<string, string>();
  /** The option whose field holds what is no number; a browser does not say what that is. */
  private unreadable: string | null = null;
  private fault: Problem | null = null;
  /** Ids of elements are one namespace, for all forms of a page and all bundles in it. */
  private readonly id = `conduit-form-${Math.random().toString(36).slice(2)}`;

  /** Takes the options that it asks for; what was filled in for others is dropped. */
  offer(options: readonly FormOption[]): void {
    this.options = options;
    const names = new Set(options.map((one) => one.name));
    this.filled = new Map([...this.filled].filter(([name]) => names.has(name)));
  }

  /** The form; null where no options are known. */
  view(): Child {
    if (this.options.length === 0) {
      return null;
    }
    const basic = this.options.filter((one) => one.is_basic);
    const others = this.options.filter((one) => !one.is_basic);
    const isOpen = others.some(({ name }) => this.filled.has(name) || this.isAtFault(name));
    return element(
      'div',
      { class: 'conduit-options', 'data-form': this.id },
      element('div', { class: 'conduit-fields' }, ...basic.map((one) => this.field(one))),
      others.length > 0 &&
        element(
          'details',
          { open: isOpen },
          element('summary', {}, 'More options'),
          element('div', { class: 'conduit-fields' }, ...others.map((one) => this.field(one))),
        ),
    );
  }

  /** Notes what is typed in the form, where it is drawn below `root`. */
  keep(root: ParentNode): void {
    const drawn = root.querySelector(`[data-form="${this.id}"]`);
    if (!drawn) {
      return;
    }
    this.filled.clear();
    this.unreadable = null;
    this.fault = null;
    for (const control of drawn.querySelectorAll<HTMLInputElement | HTMLSelectElement>('[name]')) {
      const option = this.options.find((one) => one.name === control.name);
      if (!option) {
        continue;
      }
      const value = valueOf(control);
      if (control.validity.badInput) {
        this.unreadable ??= option.name;
      } else if (value !== valueLeftOut(option)) {
        this.filled.set(option.name, value);
      }
    }
  }

  /** What was filled in, without what was left out; null where a field has to be corrected. */
  get given(): Filled | null {
    if (this.unreadable !== null) {
      this.blame({ message: `${this.unreadable} must be a number.`, param: this.unreadable });
      return null;
    }
    return Object.fromEntries(this.filled);
  }

  /** Empties the form, or fills in what is given. */
  fill(given: Filled = {}): void {
    this.filled = new Map(Object.entries(given));
    this.unreadable = null;
    this.fault = null;
  }

  /** Marks the field of the option at fault, until it is filled in again; false where it has none. */
  blame(problem: Problem): boolean {
    const isMine = this.options.some((one) => one.name === problem.param);
    this.fault = isMine ? problem : null;
    return isMine;
  }

  private isAtFault(name: string): boolean {
    return this.fault?.param === name;
  }

  private field(option: FormOption): HTMLElement {
    const { name, units } = option;
    const id = `${this.id}-${name}`;
    const isAtFault = this.isAtFault(name);
    const parts = [units !== null && 'unit', 'help', isAtFault && 'fault'].filter(Boolean);
    const control = controlOf(option, this.filled.get(name) ?? valueLeftOut(option), {
      id,
      name,
      'aria-describedby': parts.map((part) => `${id}-${String(part)}`).join(' '),
      'aria-invalid': isAtFault ? 'true' : undefined,
    });
    return element(
      'div',
      { class: 'conduit-field', 'data-key': name },
      element('label', { for: id }, plain(option.label, LONGEST_NAME)),
      element(
        'span',
        { class: 'conduit-control' },
        control,
        units !== null && element('span', { id: `${id}-unit` }, plain(units, LONGEST_NAME)),
      ),
      element('span', { class: 'conduit-help', id: `${id}-help` }, plain(option.help)),
      isAtFault &&
        this.fault &&
        element(
          'span',
          { class: 'conduit-problem', id: `${id}-fault`, role: 'alert' },
          textOf(this.fault),
        ),
    );
  }
}

/** What a field holds that nobody has touched. */
function valueLeftOut(option: FormOption): string {
  return option.kind === 'flag' ? String(option.default === true) : '';
}

function valueOf(control: HTMLInputElement | HTMLSelectElement): string {
  return control instanceof HTMLInputElement && control.type === 'checkbox'
    ? String(control.checked)
    : control.value.trim();
}

function controlOf(option: FormOption, value: string, attributes: Attributes): HTMLElement {
  if (option.kind === 'flag') {
    return element('input', { ...attributes, type: 'checkbox', checked: value === 'true' });
  }
  const without = option.default === null ? '' : plain(String(option.default), LONGEST_NAME);
  const choices = option.kind === 'switch' ? ['yes', 'no'] : option.choices;
  if (choices.length > 0) {
    const chosen = (one: string, label: string): HTMLOptionElement =>
      element('option', { value: one, selected: one === value }, label);
    return element(
      'select',
      attributes,
      chosen('', without ? `default (${without})` : 'not set'),
      ...choices.map((one) => chosen(one, plain(one, LONGEST_NAME))),
    );
  }
  const kind = NUMBERS.includes(option.kind) ? { type: 'number', step: 'any' } : { type: 'text' };
  return element('input', {
    ...attributes,
    ...kind,
    value,
    placeholder: without,
    autocomplete: 'off',
    spellcheck: 'false',
  });
}
