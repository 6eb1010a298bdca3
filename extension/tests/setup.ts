/** What browsers have and jsdom has not: drags (Lumino is built on them), and what is in sight. */

class NoDragEvent extends MouseEvent {}

/** Sees nothing by itself; `bringIntoSight` says what is in sight. */
class Sight {
  static readonly all = new Set<Sight>();
  private target: Element | null = null;

  constructor(readonly callback: IntersectionObserverCallback) {}

  observe(target: Element): void {
    this.target = target;
    Sight.all.add(this);
  }

  disconnect(): void {
    Sight.all.delete(this);
  }

  static tell(root: Element, isIntersecting: boolean): void {
    for (const one of Sight.all) {
      if (one.target && root.contains(one.target)) {
        const change = { isIntersecting } as IntersectionObserverEntry;
        one.callback([change], one as unknown as IntersectionObserver);
      }
    }
  }
}

Object.assign(globalThis, { DragEvent: NoDragEvent, IntersectionObserver: Sight });

/** Lets all that is watched below `root` come into sight, or go out of it. */
export function bringIntoSight(root: Element, isInSight = true): void {
  (IntersectionObserver as unknown as typeof Sight).tell(root, isInSight);
}
