/**
 * What both panels draw with. All text becomes text nodes: nothing that is shown is markup.
 *
 * @typedef {Node | string | null | undefined | false} Child
 * @typedef {Record<string, string | boolean | undefined>} Attributes
 *
 * @typedef {object} Model What anywidget hands to a view.
 * @property {(name: string) => any} get
 * @property {(message: object) => void} send
 * @property {(name: string, listener: (...told: any[]) => void) => void} on
 * @property {(name: string, listener: (...told: any[]) => void) => void} off
 *
 * @typedef {object} Problem
 * @property {string} message
 * @property {string | null} [hint]
 */

/** Without a beat for so long the kernel counts as gone; it sends one every five seconds. */
const SILENT_MS = 12_000;
/** How often a view says that it is looked at; of one that is silent the kernel stops asking. */
const LOOK_MS = 60_000;

/**
 * Makes an element; an attribute that is `true` stands without a value.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) {
      made.setAttribute(name, '');
    } else if (typeof value === 'string') {
      made.setAttribute(name, value);
    }
  }
  made.append(...present(children));
  return made;
}

/**
 * A button; `name` is what a screen reader says, where that is more than the label.
 *
 * @param {string} label
 * @param {() => void} press
 * @param {string} [name]
 */
export function button(label, press, name = label) {
  const made = element('button', { type: 'button', 'aria-label': name, title: name }, label);
  made.addEventListener('click', press);
  return made;
}

/**
 * Puts `children` in place of what an element holds.
 *
 * @param {Element} parent
 * @param {...Child} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren(...present(children));
}

/**
 * Asks before it does what costs or cannot be undone; Escape is a no.
 *
 * @param {Element} place
 * @param {string} question
 * @param {string} yes
 * @param {() => void} act
 * @param {() => void} after Called when it was answered, either way.
 */
export function confirm(place, question, yes, act, after) {
  const done = (/** @type {boolean} */ isMeant) => {
    fill(place);
    if (isMeant) {
      act();
    }
    after();
  };
  const box = element(
    'div',
    { class: 'conduit-confirm', role: 'group', 'aria-label': question },
    element('span', {}, question),
    button(yes, () => done(true)),
    button('Cancel', () => done(false)),
  );
  box.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      done(false);
    }
  });
  fill(place, box);
  // On what costs nothing: nobody rents or ends a machine by a key too many.
  /** @type {HTMLElement} */ (box.lastElementChild).focus();
}

/**
 * The root of a panel: the notebook's shortcuts do not hear its keys.
 *
 * @param {Element} place
 * @param {string} name
 */
export function panelRoot(place, name) {
  const root = element('section', {
    class: 'conduit-panel',
    'aria-label': name,
    'data-lm-suppress-shortcuts': 'true',
  });
  root.addEventListener('keydown', (event) => event.stopPropagation());
  place.append(root);
  return root;
}

/**
 * Watches whether the kernel is there. It beats by writing the time into `seen_at`, also while a
 * cell runs; what was saved with a notebook never counts as a beat.
 *
 * @param {Model} model
 * @param {(isAlive: boolean) => void} changed Called when that changes, and once at the start.
 * @returns {{ isAlive: () => boolean, seenAt: () => string, end: () => void }}
 */
export function watchKernel(model, changed) {
  let heardAt = 0;
  let isAlive = false;
  const tell = (/** @type {boolean} */ now) => {
    if (now !== isAlive) {
      isAlive = now;
      changed(isAlive);
      look();
    }
  };
  const view = `${Date.now()}-${Math.random()}`;
  const look = () => {
    if (isAlive && !document.hidden) {
      model.send({ kind: 'look', view });
    }
  };
  const heard = () => {
    heardAt = Date.now();
    tell(true);
  };
  // Fires when the connection goes and when it comes: the next beat says which it was.
  const lost = () => {
    heardAt = 0;
    tell(false);
  };
  const timer = setInterval(() => tell(Date.now() - heardAt < SILENT_MS), 1000);
  const looking = setInterval(look, LOOK_MS);
  document.addEventListener('visibilitychange', look);
  model.on('change:seen_at', heard);
  model.on('msg:custom', heard);
  model.on('comm_live_update', lost);
  changed(false);
  return {
    isAlive: () => isAlive,
    seenAt: () => clock(model.get('seen_at')),
    end: () => {
      clearInterval(timer);
      clearInterval(looking);
      document.removeEventListener('visibilitychange', look);
      model.off('change:seen_at', heard);
      model.off('msg:custom', heard);
      model.off('comm_live_update', lost);
      if (isAlive) {
        model.send({ kind: 'gone', view });
      }
    },
  };
}

/**
 * A line of what went wrong, and what to do.
 *
 * @param {Problem} problem
 */
export function problemLine(problem) {
  const hint = problem.hint ? ` ${problem.hint}` : '';
  return element('p', { class: 'conduit-problem', role: 'alert' }, `${problem.message}${hint}`);
}

/**
 * A labelled control.
 *
 * @param {string} label
 * @param {HTMLElement} control
 */
export function labelled(label, control) {
  return element('label', {}, element('span', {}, label), control);
}

/**
 * Lets people choose among these; what was chosen stays, where it is still there.
 *
 * @param {HTMLSelectElement} control
 * @param {readonly [string, string][]} choices Values and how they are called.
 */
export function offer(control, choices) {
  const before = control.value;
  fill(control, ...choices.map(([value, name]) => element('option', { value }, name)));
  control.value = choices.some(([value]) => value === before) ? before : (choices[0]?.[0] ?? '');
}

/**
 * A choice that is called what it is.
 *
 * @param {string} value
 * @returns {[string, string]}
 */
export function named(value) {
  return [value, value];
}

/** @param {number} value Dollars. */
export function usd(value) {
  return `$${value.toFixed(value > 0 && value < 0.1 ? 4 : 2)}`;
}

/** @param {string | null | undefined} moment ISO 8601. */
export function clock(moment) {
  const read = moment ? new Date(moment) : null;
  return read && !Number.isNaN(read.valueOf())
    ? read.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    : 'never';
}

/** @param {number} seconds */
export function span(seconds) {
  const units = /** @type {const} */ ([
    [172_800, 'days', 86_400],
    [7_200, 'h', 3_600],
    [120, 'min', 60],
  ]);
  for (const [least, unit, length] of units) {
    if (seconds >= least) {
      return `${Math.round(seconds / length)} ${unit}`;
    }
  }
  return `${Math.max(0, Math.round(seconds))} s`;
}

/** @param {readonly Child[]} children */
function present(children) {
  return /** @type {(Node | string)[]} */ (children.filter(Boolean));
}
