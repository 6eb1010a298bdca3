/** Whether anybody can see a view: it is in the window's sight, and the page is not hidden. */

/** How often a view that stays in sight says so. */
export const SEEN_EVERY_MS = 20_000;

/** Calls `seen` when `root` comes into sight, and again while it stays; the result ends that. */
export function whileSeen(root: Element, seen: () => void): () => void {
  let isInSight = false;
  let timer: ReturnType<typeof setInterval> | undefined;
  const stop = (): void => {
    clearInterval(timer);
    timer = undefined;
  };
  const look = (): void => {
    if (!isInSight || document.visibilityState !== 'visible') {
      stop();
    } else if (timer === undefined) {
      seen();
      timer = setInterval(seen, SEEN_EVERY_MS);
    }
  };
  const observer = new IntersectionObserver((changes) => {
    isInSight = changes.at(-1)?.isIntersecting ?? isInSight;
    look();
  });
  observer.observe(root);
  document.addEventListener('visibilitychange', look);
  return () => {
    stop();
    observer.disconnect();
    document.removeEventListener('visibilitychange', look);
  };
}
