/** Asks the server for the overview again and again, and gives it to the store. */

import { REAL_TIME } from '../shared/store.js';
import type { Store, Time } from '../shared/store.js';
import type { HttpClient } from './api.js';

/** What the settings say too: a change is told within twice this and what an answer takes. */
export const DEFAULT_REFRESH_S = 2;

const LONGEST_PAUSE_MS = 30_000;
/** A server that answers slowly is left in peace for so long at least. */
const SHORTEST_PAUSE_MS = 500;

export class Poller {
  private cancelTimer: (() => void) | null = null;
  private asking: Promise<void> | null = null;
  private failures = 0;
  private beganAt = 0;
  private isRunning = false;

  constructor(
    private readonly client: Pick<HttpClient, 'overview'>,
    private readonly store: Store,
    private everyMs: number,
    private readonly time: Time = REAL_TIME,
  ) {}

  start(): void {
    if (!this.isRunning) {
      this.isRunning = true;
      void this.refresh();
    }
  }

  stop(): void {
    this.isRunning = false;
    this.cancelTimer?.();
    this.cancelTimer = null;
  }

  /** Changes how often it asks, from now on. */
  pace(everyMs: number): void {
    this.everyMs = everyMs;
    if (this.isRunning) {
      void this.refresh();
    }
  }

  /** Asks now. Who calls while a question is under way gets the next answer as well. */
  refresh(): Promise<void> {
    this.cancelTimer?.();
    this.cancelTimer = null;
    this.asking ??= this.ask().finally(() => {
      this.asking = null;
      this.plan();
    });
    return this.asking;
  }

  /** Asks after what is under way: for who has just changed something. */
  async refreshAfterChange(): Promise<void> {
    await this.asking;
    await this.refresh();
  }

  private plan(): void {
    if (!this.isRunning || this.cancelTimer) {
      return;
    }
    const pause = Math.min(this.everyMs * 2 ** Math.min(this.failures, 5), LONGEST_PAUSE_MS);
    // From question to question, so that a slow answer does not make the next one later.
    const left = Math.max(pause, this.everyMs) - (this.time.now() - this.beganAt);
    this.cancelTimer = this.time.after(Math.max(left, SHORTEST_PAUSE_MS), () => {
      this.cancelTimer = null;
      void this.refresh();
    });
  }

  private async ask(): Promise<void> {
    this.beganAt = this.time.now();
    try {
      const overview = await this.client.overview(this.store.revision);
      this.failures = 0;
      this.store.take(overview);
    } catch (error) {
      this.failures += 1;
      this.store.lose(error instanceof Error ? error.message : String(error));
    }
  }
}
