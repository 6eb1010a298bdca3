/** A panel's connection: the widget's comm, by which a view and the kernel tell each other things. */

import type { Client, Verb } from '../shared/client.js';
import type { OfferedRows } from '../shared/offering_rows.js';
import type { FormOption, Overview, Problem } from '../shared/wire.js';
import { clock } from '../shared/words.js';
import { whileSeen } from './sight.js';

/** What anywidget hands to a view. */
export interface Model {
  get(name: string): unknown;
  send(message: object): void;
  on(name: string, listener: (...told: never[]) => void): void;
  off(name: string, listener: (...told: never[]) => void): void;
}

/** What the kernel says; `conduit_nb/notebook/panels` is the other side. */
export type Heard =
  | ({ readonly kind: 'overview' } & Overview)
  | Choices
  | ({ readonly kind: 'table' } & OfferedRows)
  | { readonly kind: 'logs'; readonly key: string; readonly lines: readonly string[] }
  | Answer
  | { readonly kind: 'action'; readonly text: string }
  | Failure;

/** What can be chosen; the runtimes and the model are told to the panel that plans. */
export interface Choices {
  readonly kind: 'choices';
  readonly options: readonly FormOption[];
  readonly runtimes?: readonly string[];
  readonly model?: string;
}

/** What went wrong; with `form` it is about what that view has sent to be deployed on an offering. */
export interface Failure extends Problem {
  readonly kind: 'problem';
  readonly form?: string;
  /** The offering's key. */
  readonly key?: string;
}

/** A piece of what a model answers; with a state it is the last one. */
export interface Answer {
  readonly kind: 'answer';
  readonly key: string;
  readonly text: string;
  readonly state?: 'done' | 'failed';
  readonly error?: Problem;
}

/** Without a beat for so long the kernel counts as gone; it sends one every five seconds. */
const SILENT_MS = 12_000;
const CHECK_MS = 1_000;

/**
 * Knows whether the kernel is there, and lets it know whether somebody sees the view: a panel that
 * nobody sees sleeps. The kernel beats by writing the time into `seen_at`, also while a cell runs;
 * what was saved with a notebook never counts as a beat.
 */
export class Comm implements Client {
  isAlive = false;
  private heardAt = 0;
  /** The view's own name. */
  readonly name = `${Date.now()}-${Math.random()}`;
  private readonly logs = new Map<string, (lines: readonly string[]) => void>();
  private readonly endings: (() => void)[] = [];

  constructor(
    private readonly model: Model,
    private readonly heard: (message: Heard) => void,
    /** Called when the kernel comes or goes. */
    private readonly changed: () => void,
  ) {}

  /** Begins to listen, asks for all there is, and tells whether `root` is seen from now on. */
  begin(root: Element): void {
    this.listen('change:seen_at', () => this.hear());
    this.listen('msg:custom', (message: Heard) => {
      this.hear();
      if (message.kind === 'logs') {
        this.logs.get(message.key)?.(message.lines);
      }
      this.heard(message);
    });
    // Fires when the connection goes and when it comes: the next beat says which it was.
    this.listen('comm_live_update', () => {
      this.heardAt = 0;
      this.check();
    });
    const timer = setInterval(() => this.check(), CHECK_MS);
    const unsee = whileSeen(root, () => {
      this.send({ kind: 'seen' });
    });
    this.endings.push(unsee, () => clearInterval(timer));
    this.send({ kind: 'here' });
  }

  end(): void {
    for (const end of this.endings) {
      end();
    }
    if (this.isAlive) {
      this.send({ kind: 'gone' });
    }
  }

  /** When the kernel last told that it is there, also where that is saved in the notebook. */
  get seenAt(): string {
    return clock(String(this.model.get('seen_at')));
  }

  act(key: string, verb: Verb): Promise<void> {
    this.send({ kind: 'act', key, verb });
    return Promise.resolve();
  }

  watchLog(key: string, heard: (lines: readonly string[]) => void): () => void {
    this.logs.set(key, heard);
    this.send({ kind: 'logs', key, open: true });
    return () => {
      this.logs.delete(key);
      this.send({ kind: 'logs', key, open: false });
    };
  }

  /** Says something to the kernel, which hears it once no cell runs. */
  send(message: { readonly kind: string } & Readonly<Record<string, unknown>>): void {
    try {
      this.model.send({ ...message, view: this.name });
    } catch {
      // The comm is gone with its kernel, which `isAlive` says soon.
    }
  }

  private listen(name: string, listener: (...told: never[]) => void): void {
    this.model.on(name, listener);
    this.endings.push(() => this.model.off(name, listener));
  }

  private hear(): void {
    this.heardAt = Date.now();
    this.check();
  }

  private check(): void {
    const isAlive = Date.now() - this.heardAt < SILENT_MS;
    if (isAlive !== this.isAlive) {
      this.isAlive = isAlive;
      this.changed();
    }
  }
}
