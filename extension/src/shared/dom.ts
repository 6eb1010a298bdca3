/**
 * Elements from plain values. All text becomes text nodes: nothing that is shown is markup.
 *
 * Elements carry no listeners of their own; a view listens once, at its root, and `data-do` and
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
export function button(
  label: string,
  action: string,
  name = label,
  rest: Attributes = {},
): HTMLButtonElement {
  return element(
    'button',
    {
      type: 'button',
      class: 'conduit-button',
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

/** Goes through both lists once; what is skipped to reach a node's like is no longer wanted. */
function patchChildren(parent: Element, wanted: readonly (Node | string)[]): void {
  let next = parent.firstChild;
  for (const node of wanted) {
    const made = typeof node === 'string' ? document.createTextNode(node) : node;
    let old = next;
    while (old && !isAlike(old, made)) {
      old = old.nextSibling;
    }
    if (!old) {
      parent.insertBefore(made, next);
      continue;
    }
    removeUntil(old, next);
    next = old.nextSibling;
    if (!old.isEqualNode(made)) {
      patch(old, made);
    }
  }
  removeUntil(null, next);
}

function removeUntil(end: ChildNode | null, first: ChildNode | null): void {
  let node = first;
  while (node && node !== end) {
    const following = node.nextSibling;
    node.remove();
    node = following;
  }
}

/** Whether a node is the same part of a view: its tag, class, action and key say which one. */
function isAlike(old: Node, made: Node): boolean {
  if (!(old instanceof Element) || !(made instanceof Element)) {
    return old.nodeType === made.nodeType;
  }
  const names = ['class', 'data-do', 'data-key'];
  return (
    old.tagName === made.tagName &&
    names.every((name) => old.getAttribute(name) === made.getAttribute(name))
  );
}

function patch(old: ChildNode, made: Node): void {
  if (!(old instanceof Element) || !(made instanceof Element)) {
    old.nodeValue = made.nodeValue;
    return;
  }
  for (const name of old.getAttributeNames()) {
    // What people have opened stays open.
    if (!made.hasAttribute(name) && name !== 'open') {
      old.removeAttribute(name);
    }
  }
  for (const name of made.getAttributeNames()) {
    if (old.getAttribute(name) !== made.getAttribute(name)) {
      old.setAttribute(name, made.getAttribute(name) ?? '');
    }
  }
  patchChildren(old, [...made.childNodes]);
}
