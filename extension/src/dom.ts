/**
 * Elements from plain values. All text becomes text nodes: nothing that is shown is markup.
 *
 * Elements carry no listeners of their own; a panel listens once, at its root, and `data-do` and
 * `data-key` say what was meant. So what is on the screen can be brought up to date in place.
 */

export type Child = Node | string | null | undefined | false;
export type Attributes = Readonly<Record<string, string | boolean | undefined>>;

/** Makes an element; an attribute that is `true` stands without a value. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
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

/** A button that does `action`; `name` is what a screen reader says, where that is more. */
export function button(label: string, action: string, name = label, rest: Attributes = {}): Node {
  return element(
    'button',
    {
      type: 'button',
      class: 'jp-Conduit-button',
      'data-do': action,
      'aria-label': name,
      title: name,
      ...rest,
    },
    label,
  );
}

/** Brings the children of `parent` to what is wanted, so that focus and selection stay. */
export function show(parent: Element, ...children: Child[]): void {
  patchChildren(parent, present(children));
}

/** Says what a click (or a key that clicks) meant: the action, and of which thing. */
export function meantBy(event: Event): { action: string; key: string } | null {
  if (!(event.target instanceof Element)) {
    return null;
  }
  const pressed = event.target.closest('[data-do]');
  const action = pressed?.getAttribute('data-do');
  if (!pressed || !action) {
    return null;
  }
  return { action, key: pressed.closest('[data-key]')?.getAttribute('data-key') ?? '' };
}

function present(children: readonly Child[]): (Node | string)[] {
  return children.filter((child): child is Node | string => Boolean(child));
}

function patchChildren(parent: Element, wanted: readonly (Node | string)[]): void {
  const before = [...parent.childNodes];
  for (const [index, node] of wanted.entries()) {
    const old = before[index];
    const made = typeof node === 'string' ? document.createTextNode(node) : node;
    if (!old) {
      parent.append(made);
    } else if (!old.isEqualNode(made)) {
      if (isSame(old, made)) {
        patchElement(old, made as Element);
      } else {
        old.replaceWith(made);
      }
    }
  }
  for (const left of before.slice(wanted.length)) {
    left.remove();
  }
}

function isSame(old: Node, made: Node): old is Element {
  return (
    old instanceof Element &&
    made instanceof Element &&
    old.tagName === made.tagName &&
    old.getAttribute('data-key') === made.getAttribute('data-key')
  );
}

function patchElement(old: Element, made: Element): void {
  for (const name of old.getAttributeNames()) {
    // What people have opened stays open.
    if (!made.hasAttribute(name) && name !== 'open') {
      old.removeAttribute(name);
    }
  }
  for (const name of made.getAttributeNames()) {
    old.setAttribute(name, made.getAttribute(name) ?? '');
  }
  patchChildren(old, [...made.childNodes]);
}
