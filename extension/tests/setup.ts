/** What browsers have and jsdom has not; Lumino's drag and drop is built on it. */

class NoDragEvent extends MouseEvent {}

Object.assign(globalThis, { DragEvent: NoDragEvent });
